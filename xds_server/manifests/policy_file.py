"""The file of ``--policy``: what a platform team sets and allows for every shadow of the installation.

The file maps the names of annotations, without prefix, to their values. It is read once, at the start. The
process does not start if the file has a mistake, because shadows must not run with only some of their bounds.
"""

from pathlib import Path
from typing import Final

from xds_server.base.errors import UsageError
from xds_server.base.yaml_text import texts_of
from xds_server.core.keys import PREFIX
from xds_server.core.layers import NO_FILE, Layer, PolicyFile
from xds_server.core.policy import check_defaults, merge
from xds_server.core.values import PolicyError

_LARGEST: Final = 64 * 1024


def read_policy(path: Path | None) -> PolicyFile:
    """The settings of the file, understood.

    Raises:
        UsageError: it cannot be read; file and key are named.
    """
    if path is None:
        return NO_FILE
    option = f"--policy {path}"
    found = texts_of(path, option, _LARGEST)
    if found is None and path.stat().st_size == 0:  # an incomplete write, or a full disk
        raise UsageError(f"{option}: the file is empty; without settings leave out --policy")
    if not isinstance(found or {}, dict):
        raise UsageError(f'{option}: write settings one a line, such as percent-max: "10"')
    settings = dict(found or {})
    for key, value in settings.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise UsageError(f"{option}: {key}: write its value as a string, such as methods: GET,HEAD")
        if key.startswith(PREFIX):
            raise UsageError(f"{option}: {key}: write it without {PREFIX}")
    try:
        _check(PolicyFile("", settings))
    except PolicyError as error:
        raise UsageError(f"{option}: {error}") from error
    return PolicyFile(f"the policy file {path}", settings)


def _check(policy: PolicyFile) -> None:
    """Read every setting, and apply the policy to a shadow without annotations: a default that exceeds a
    bound of the same file would reject every shadow that does not override it."""
    check_defaults(policy)
    merge(Layer("", {}), None, policy, "")
