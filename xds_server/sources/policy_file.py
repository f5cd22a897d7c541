"""The file of ``--policy``: what a platform team sets and allows for every shadow of the installation.

A mapping of the annotations' names, without prefix, to their values. It is read once, at the start, and one
mistake in it is the end of the start: guard rails that hold in part are none.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml

from xds_server.base.errors import UsageError
from xds_server.model.objects import PREFIX
from xds_server.shadows.policy import NO_FILE, PolicyFile, check_defaults
from xds_server.shadows.values import PolicyError

if TYPE_CHECKING:
    from yaml import BaseLoader as _Loader
else:
    _Loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # every scalar is the text that it is written as

_LARGEST: Final = 64 * 1024


def read_policy(path: Path | None) -> PolicyFile:
    """The settings of the file, understood.

    Raises:
        UsageError: it cannot be read; file and key are named.
    """
    if path is None:
        return NO_FILE
    option = f"--policy {path}"
    try:
        raw = path.read_bytes()
        if len(raw) > _LARGEST:
            raise UsageError(f"{option}: it has {len(raw)} bytes, and {_LARGEST} are the most")
        found = yaml.load(raw, Loader=_Loader)  # noqa: S506 - makes nothing but texts, lists and mappings
    except OSError as error:
        raise UsageError(f"{option}: {error.strerror or error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"{option}: this is no YAML: {error}") from error
    if not isinstance(found or {}, dict):
        raise UsageError(f'{option}: write settings one a line, such as percent-max: "10"')
    settings = dict(found or {})
    for key, value in settings.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise UsageError(f"{option}: {key}: write its value as one text, as in an annotation")
        if key.startswith(PREFIX):
            raise UsageError(f"{option}: {key}: write it without {PREFIX}")
    policy = PolicyFile(f"the policy file {path}", settings)
    try:
        check_defaults(policy)
    except PolicyError as error:
        raise UsageError(f"{option}: {error}") from error
    return policy
