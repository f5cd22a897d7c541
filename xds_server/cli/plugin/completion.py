"""The candidates of shell completion. Names of objects are read with kubectl."""

import contextlib
from collections.abc import Sequence

from xds_server.base.errors import XdsShadowError
from xds_server.cli.plugin.kubectl import Kubectl
from xds_server.core.annotations import NAMES

_COMMANDS = ["explain", "set", "start", "status", "stop", "top", "verdict"]
_START_OPTIONS = ["--of", "--percent", "--methods", "--set", "--expose", "--dry-run"]


def words(before: Sequence[str]) -> list[str]:
    """The words that can follow `before`."""
    if not before:
        return _COMMANDS
    command, *rest = before
    if command == "set" and rest:
        return [f"{name}=" for name in NAMES]
    if command in ("start", "stop", "explain", "set", "verdict") and not rest:
        with contextlib.suppress(XdsShadowError):
            names = Kubectl().output("get", "deployments,statefulsets,daemonsets", "-o", "name").splitlines()
            return [each.removeprefix("deployment.apps/").replace(".apps/", "/") for each in names]
    if rest and rest[-1] == "--of":
        with contextlib.suppress(XdsShadowError):
            found = Kubectl().output("get", "services", "-o", "name")
            return [line.partition("/")[2] for line in found.splitlines()]
    return _START_OPTIONS if command == "start" else []
