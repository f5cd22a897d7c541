"""Leader election among the replicas: client-go's algorithm (tools/leaderelection) on a Lease, without I/O.

The times in the Lease are for people. What counts is for how long, by its own monotonic clock, a replica has
seen the Lease unchanged. A leader stops acting some seconds before another can begin, so there are never two
leaders, as long as their clocks run equally fast.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

Document = dict[str, Any]

API_VERSION: Final = "coordination.k8s.io/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Durations in seconds. Another replica acquires a Lease that was not renewed for `lease`. A leader that
    could not renew it for `renew` stops. Both look every `retry`, or every `slow` while the API server
    rejects their requests. A replica that does not lead keeps conditions for `kept`."""

    lease: int = 15
    renew: float = 10.0
    retry: float = 2.0
    slow: float = 30.0
    kept: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The content of a Lease. `version` is its resourceVersion; times are as written in it."""

    holder: str
    duration: int
    acquired: str
    renewed: str
    transitions: int
    version: str = ""

    @classmethod
    def of(cls, lease: Document) -> "Record":
        """Read a Lease. Missing or invalid fields count as not held."""
        spec = lease.get("spec") or {}
        return cls(
            holder=str(spec.get("holderIdentity") or ""),
            duration=int(spec.get("leaseDurationSeconds") or 0),
            acquired=str(spec.get("acquireTime") or ""),
            renewed=str(spec.get("renewTime") or ""),
            transitions=int(spec.get("leaseTransitions") or 0),
            version=str((lease.get("metadata") or {}).get("resourceVersion") or ""),
        )


class Election:
    """The view of one candidate. `now` is monotonic, `wall` is seconds since the epoch."""

    def __init__(self, identity: str, *, namespace: str, name: str, terms: Terms) -> None:
        self._identity = identity
        self._namespace = namespace
        self._name = name
        self._terms = terms
        self._seen: Record | None = None
        self._seen_at = 0.0
        self._acts_until = float("-inf")

    def leads(self, now: float) -> bool:
        """Whether this candidate is the leader."""
        return now < self._acts_until

    @property
    def holds(self) -> bool:
        """Whether the Lease, as last seen, is this candidate's."""
        return self._seen is not None and self._seen.holder == self._identity

    def observe(self, lease: Document | None, now: float) -> None:
        """Note the Lease that the server returned, or None if there is none."""
        seen = None if lease is None else Record.of(lease)
        if seen != self._seen:
            self._seen, self._seen_at = seen, now
        if not self.holds:
            self._acts_until = float("-inf")

    def bid(self, now: float, wall: float) -> Document | None:
        """The Lease to create, or to update if it has a resourceVersion; None while another holds it."""
        seen, time = self._seen, _micro_time(wall)
        fresh = Record(
            holder=self._identity, duration=self._terms.lease, acquired=time, renewed=time, transitions=0
        )
        if seen is None:
            return self._document(fresh)
        if self.holds:
            return self._document(replace(fresh, acquired=seen.acquired, **_kept(seen)))
        if seen.holder and now < self._seen_at + max(seen.duration, 1):
            return None
        return self._document(replace(fresh, **_kept(seen, changes_hands=1)))

    def won(self, lease: Document, asked: float) -> None:
        """Note that the bid sent at `asked` was accepted. `lease` is the server's response."""
        self._seen, self._seen_at = Record.of(lease), asked
        self._acts_until = asked + self._terms.renew

    def resign(self, wall: float) -> Document | None:
        """The update that lets another acquire the Lease at once; None if this one does not hold it."""
        seen, time = self._seen, _micro_time(wall)
        self._acts_until = float("-inf")
        if seen is None or not self.holds:
            return None
        return self._document(
            Record(holder="", duration=1, acquired=seen.acquired, renewed=time, **_kept(seen))
        )

    def _document(self, record: Record) -> Document:
        metadata = {"name": self._name, "namespace": self._namespace}
        if record.version:
            metadata["resourceVersion"] = record.version
        return {
            "apiVersion": API_VERSION,
            "kind": "Lease",
            "metadata": metadata,
            "spec": {
                "holderIdentity": record.holder,
                "leaseDurationSeconds": record.duration,
                "acquireTime": record.acquired,
                "renewTime": record.renewed,
                "leaseTransitions": record.transitions,
            },
        }


def _kept(seen: Record, *, changes_hands: int = 0) -> dict[str, Any]:
    return {"version": seen.version, "transitions": seen.transitions + changes_hands}


def _micro_time(wall: float) -> str:
    """meta/v1 MicroTime."""
    return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
