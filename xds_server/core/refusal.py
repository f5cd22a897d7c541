"""Why a canary is not mirrored to: data, and never an exception."""

from dataclasses import dataclass

from xds_server.core.plan import Reason


@dataclass(frozen=True, slots=True)
class Refusal:
    """`message` is one sentence or several."""

    reason: Reason
    message: str
