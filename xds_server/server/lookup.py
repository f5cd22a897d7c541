"""Finds a shadow by the name that somebody typed. Pure."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Final

from xds_server.base.errors import AmbiguousNameError, UnknownNameError
from xds_server.base.text import quoted
from xds_server.core.keys import SHADOW_OF
from xds_server.core.plan import ShadowStatus

_LONGEST: Final = 320
"""Characters that are compared: a Namespace and the name of a workload."""


def find(shadows: Iterable[ShadowStatus], namespace: str, name: str, kind: str = "") -> ShadowStatus:
    """The shadow of a workload. `kind` may be empty and in any case.

    Raises:
        UnknownNameError: there is none; the message has the most similar name.
        AmbiguousNameError: workloads of several kinds have the name, and `kind` is empty.
    """
    known = list(shadows)
    found = [each for each in known if (each.namespace, each.name) == (namespace, name)]
    found = [each for each in found if kind.lower() in ("", each.kind.lower())]
    if len(found) > 1:
        names = [f"{each.namespace}/{each.kind.lower()}/{each.name}" for each in found]
        raise AmbiguousNameError(
            f"several marked workloads have this name; ask for one of {', '.join(names)}"
        )
    if not found:
        what = quoted(f"{kind or 'workload'} {namespace}/{name}")
        hint = _similar(known, f"{namespace}/{name}")
        raise UnknownNameError(f"no {what} with the label {SHADOW_OF} is known to the server{hint}")
    return found[0]


def _similar(known: Sequence[ShadowStatus], wanted: str) -> str:
    names = {f"{each.namespace}/{each.name}" for each in known}
    close = get_close_matches(wanted[:_LONGEST], sorted(names), n=1)
    return f"; did you mean {close[0]}?" if close else ""
