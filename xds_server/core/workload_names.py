"""Reads the names of workloads and their kinds, in keys and on command lines."""

from typing import Final

from xds_server.core.objects import WORKLOADS, Kind

_BY_NAME: Final = {kind.lower(): kind for kind in WORKLOADS}
_BY_SHORT_NAME: Final = {kind.short: kind for kind in WORKLOADS}

KINDS_IN_WORDS: Final = f"{', '.join(WORKLOADS[:-1])} or {WORKLOADS[-1]}"


def kind_called(word: str) -> Kind | None:
    """The kind of workload for a name that kubectl accepts: ``statefulset``, ``statefulsets.apps``, ``sts``.
    None for any other."""
    resource = word.lower().partition(".")[0]
    return _BY_SHORT_NAME.get(resource) or _BY_NAME.get(resource.removesuffix("s"))


def named_by(key: str) -> tuple[Kind, str]:
    """The kind and the name in a key of `objects.workload_key`."""
    kind, _, name = key.rpartition("/")
    return _BY_NAME[kind] if kind else Kind.DEPLOYMENT, name
