"""Simple, faithful model clients for the property test, and a record of what the server has a reason to send.

A client reads its responses and its requests reach the machine with any delay, in order, as on a stream.
It follows the listeners' routes by itself, as Envoy does, and the assignments and secrets of its clusters if
it `follows_clusters`; otherwise the test decides which of these it wants, and some spare routes. What it
rejects leaves it as it was. An incremental client has all virtual hosts.
"""

import re
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.service.discovery.v3 import discovery_pb2

from xds_server.base.ids import StreamId, TypeUrl
from xds_server.xds.delta import DeltaMachine
from xds_server.xds.encode import Encoder
from xds_server.xds.machine import StreamMachine
from xds_server.xds.order import ORDER
from xds_server.xds.requests import DeltaReader, SotwReader
from xds_server.xds.resource import Resource, ResourceKey
from xds_server.xds.responses import Response
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.sotw import SotwMachine
from xds_server.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, VIRTUAL_HOST

FULL = (CLUSTER, LISTENER)
SECRET_NAMES = ("secret0", "secret1")
"""Apart from those of assignments, which have their clusters' names."""

_ENCODER = Encoder("model")


_USED = re.compile(rb"<([^>]*)>")


def resource(type_url: TypeUrl, name: str, rev: int, refs: tuple[ResourceKey, ...] = ()) -> Resource:
    """A resource whose body says what it refers to. What a variant takes apart or joins is a real message;
    route configurations leave their virtual hosts to themselves."""
    text = f"{rev}{''.join(f'<{ref.name}>' for ref in refs)}"
    key = ResourceKey(type_url, name)
    if type_url == ROUTE:
        body = route_pb2.RouteConfiguration(name=text).SerializeToString()
        return Resource(key, body, refs, vhds=True)
    if type_url == VIRTUAL_HOST:
        # With its name, as a real one: inside a route configuration two of them must not look alike.
        message = route_components_pb2.VirtualHost(name=f"{name} {text}")
        return Resource(key, message.SerializeToString(), refs)
    return Resource(key, text.encode(), refs)


def uses(body: bytes) -> list[str]:
    """The names that a body of `resource` refers to, with those of all that was joined to it."""
    return [name.decode() for name in _USED.findall(body)]


@dataclass
class Copy:
    """What a client has of a resource."""

    version: str  # of the resource in delta, of the whole response in SotW
    body: bytes


@dataclass
class Ledger:
    """What the server has told on one stream and what it was asked there, kept apart from the machine's own
    record.

    `wildcards` are the types that the client has everything of. `told` is by name the body that was sent
    last; `asked` are names that must be answered; `warming` are assignments that may be; `first` are
    wildcards that nothing was sent for; `unheard` are virtual hosts that were told before their routes;
    `latest` is the last nonce. `names` are those of each response that
    is not answered, `rejected` those that were not accepted since.
    """

    wildcards: tuple[TypeUrl, ...]
    told: dict[TypeUrl, dict[str, bytes]] = field(default_factory=lambda: {each: {} for each in ORDER})
    subscribed: dict[TypeUrl, set[str]] = field(default_factory=lambda: {each: set() for each in ORDER})
    asked: dict[TypeUrl, set[str]] = field(default_factory=lambda: {each: set() for each in ORDER})
    warming: set[str] = field(default_factory=set)
    may_repeat: set[str] = field(default_factory=set)
    unheard: set[str] = field(default_factory=set)
    opened: set[TypeUrl] = field(default_factory=set)
    first: set[TypeUrl] = field(default_factory=set)
    latest: dict[TypeUrl, str] = field(default_factory=dict)
    names: dict[tuple[TypeUrl, str], set[str]] = field(default_factory=dict)
    rejected: dict[TypeUrl, set[str]] = field(default_factory=lambda: {each: set() for each in ORDER})

    def opens(self, kind: TypeUrl, held: Mapping[str, Copy]) -> bool:
        """Whether a request is the first for a type; if it is, and opens a wildcard, what the client holds
        counts as told."""
        if kind in self.opened:
            return False
        self.opened.add(kind)
        if kind in self.wildcards:
            self.first.add(kind)
            self.told[kind] = {name: copy.body for name, copy in held.items()}
        return True

    def subscribe(self, kind: TypeUrl, names: set[str]) -> None:
        """A request asks for these names."""
        self.subscribed[kind] |= names
        self.asked[kind] |= names

    def unsubscribe(self, kind: TypeUrl, names: set[str]) -> None:
        """A request no longer asks for these."""
        self.subscribed[kind] -= names
        self.asked[kind] -= names
        for name in names:
            self.told[kind].pop(name, None)

    def forget_gone(self, current: Snapshot) -> None:
        """SotW cannot say that an assignment, a secret or a route is gone. The client may drop it or keep it,
        so it is told anew when it comes back."""
        for kind in (ENDPOINT, SECRET, ROUTE):
            for name in self.told[kind].keys() - set(current.of(kind).resources):
                del self.told[kind][name]

    def answered(self, kind: TypeUrl, nonce: str, *, error: bool) -> None:
        """A request answers a response: the last clusters are warm, or an assignment is asked for again. What
        it rejects may come again."""
        names = self.names.pop((kind, nonce), set())
        if error:
            self.rejected[kind] |= names
        else:
            self.rejected[kind] -= names
        if error or nonce != self.latest.get(kind):
            return
        if kind == CLUSTER:
            self.warming.clear()
        if kind == ENDPOINT:
            self.may_repeat |= self.warming & self.subscribed[kind]

    def sent(self, response: Response, current: Snapshot, *, partial: bool) -> None:
        """Check that the response has a reason, and record it."""
        kind = response.type_url
        told, asked = self.told[kind], self.asked[kind]
        names = [each.name for each in response.resources]
        assert len({*names, *response.removed}) == len(names) + len(response.removed), "duplicate names"
        changed = {each.name for each in response.resources if told.get(each.name) != each.body}
        removed = set(response.removed) if partial else told.keys() - set(names)
        reasons = changed | asked | self.rejected[kind] | (self.may_repeat if kind == ENDPOINT else set())
        if kind == VIRTUAL_HOST:
            reasons |= self.unheard
            self.unheard.difference_update(names)
        if kind == ROUTE:
            new = {name for name in names if name not in told or name in self.rejected[ROUTE]}
            self.unheard |= {host for host in self.told[VIRTUAL_HOST] if host.rpartition("/")[0] in new}
        if partial:
            assert reasons.issuperset(names), f"{set(names) - reasons} sent again without a reason"
            assert (asked | told.keys() | self.rejected[kind]) >= removed, (
                f"{removed} removed without a reason"
            )
        assert changed or removed or asked or reasons or kind in self.first, f"{response} has no reason"
        # Full state that opens a stream has what the client may have, and the server cannot know.
        opening = set(names) if kind in self.first and not partial else set()
        for name in removed:
            told.pop(name, None)
        told.update((each.name, each.body) for each in response.resources)
        if kind in self.first:
            # Of a claim that matches nothing now, only the name is kept.
            orphans = told.keys() - set(current.of(kind).resources)
            told.update(dict.fromkeys(orphans, b"unknown"))
            self.first.discard(kind)
        self.latest[kind] = response.nonce
        self.names[kind, response.nonce] = {*names, *removed}
        asked.difference_update(names, removed)
        if kind == ENDPOINT:
            self.may_repeat.difference_update(names)
        if kind == CLUSTER:
            # What was rejected is new to the client, also if it was told the same before; full state may have
            # what the client has.
            again = self.rejected[kind].intersection(names)
            self.warming |= changed | again | opening
            if partial:
                changed |= again
            else:
                changed -= again
                self.may_repeat |= again & self.subscribed[ENDPOINT]
            # Rule 13: the assignments of changed clusters come again.
            self.asked[ENDPOINT] |= changed & self.subscribed[ENDPOINT]


class ModelClient(ABC):
    """One client over any number of streams, one at a time."""

    machine: StreamMachine[Any]
    reader: SotwReader | DeltaReader
    partial: ClassVar[Mapping[TypeUrl, bool]]
    wildcards: ClassVar[tuple[TypeUrl, ...]]

    def __init__(self, *, follows_clusters: bool = False) -> None:
        self.follows_clusters = follows_clusters
        self.held: dict[TypeUrl, dict[str, Copy]] = {each: {} for each in ORDER}
        self.names: dict[TypeUrl, set[str]] = {kind: set() for kind in (ENDPOINT, SECRET, ROUTE)}
        self.spare_routes: set[str] = set()
        self.now = 0.0
        self.rejected: dict[TypeUrl, set[tuple[str, bytes | None]]] = {}
        self.connect()

    def connect(self) -> None:
        """Open a stream, losing whatever was on its way on the one before."""
        self.ledger = Ledger(self.wildcards)
        self.inbox: deque[Response] = deque()
        self.outbox: deque[Any] = deque()
        self.opened: set[TypeUrl] = set()
        self.last_nonce: dict[TypeUrl, str] = {}
        self.old_nonces: dict[TypeUrl, list[str]] = {each: [] for each in ORDER}
        self.rejected = {each: set() for each in ORDER}
        self.synced = False
        self.start()
        for each in (*self.wildcards, *(kind for kind in self.names if self.names[kind])):
            self.open(each)

    # --- the server's side of the stream ---

    def push(self, current: Snapshot) -> bool:
        """Let the machine send one response, if it has one."""
        if not self.partial[CLUSTER]:
            self.ledger.forget_gone(current)
        response = self.machine.next(current, self.now)
        if response is None:
            self.ledger.first.clear()  # a wildcard whose version matches is never answered (rule 30)
            return False
        self.ledger.sent(response, current, partial=self.partial[response.type_url])
        if response.type_url == SECRET and self.synced:
            stay = current.of(CLUSTER).resources
            taken = self.held[SECRET].keys() & set(response.removed) & self.secrets_in_use(stay)
            assert not taken, f"{taken} taken from a cluster that stays"
        self.inbox.append(response)
        return True

    def wait(self) -> bool:
        """Let the time pass until the machine waits no longer, if it does."""
        waits = self.machine.wakes_at
        self.now = self.now if waits is None else waits
        return waits is not None

    def deliver(self) -> None:
        """Let the oldest request reach the machine."""
        request = self.outbox.popleft()
        self.asks(request)
        self.machine.receive(self.reader.read(request.SerializeToString()))

    # --- the client's side ---

    def process(self, *, accept: bool) -> None:
        """Take the oldest response and answer it; one that only takes away has nothing to reject."""
        response = self.inbox.popleft()
        kind = response.type_url
        resources, removed = self.decode(response)
        if kind in self.names:  # what was not asked for is ignored, as the spec has it
            resources = {name: copy for name, copy in resources.items() if name in self.names[kind]}
        before = self.held[kind]
        after = {**before, **resources} if self.partial[kind] else resources
        for name in removed:
            after.pop(name, None)
        gone = (before.keys() - after.keys()) | set(removed)
        self.old_nonces[kind].append(self.last_nonce.get(kind, ""))
        self.last_nonce[kind] = response.nonce
        accept = accept or not resources
        if accept:
            self.held[kind] = after
            changed = {n for n, copy in resources.items() if n not in before or before[n].body != copy.body}
            self.rejected[kind] = {
                (name, body)
                for name, body in self.rejected[kind]
                if name not in changed and (after[name].body if name in after else None) != body
            }
            self.accepted(response)
        else:
            self.rejected[kind] |= {(name, copy.body) for name, copy in resources.items()}
            if kind in FULL:  # Envoy takes these away whatever it rejects
                self.held[kind] = {name: copy for name, copy in before.items() if name not in gone}
                self.lost(kind, gone)
            else:
                self.rejected[kind] |= {(name, None) for name in gone}
        self.answer(kind, accept=accept)
        self.follow()

    def follow(self) -> None:
        """Subscribe to the routes of the listeners, and to no others but the spare ones; perhaps to what the
        clusters use."""
        wanted = {name for copy in self.held[LISTENER].values() for name in uses(copy.body)}
        self.want(ROUTE, wanted | self.spare_routes)
        if self.follows_clusters:
            secrets = self.secrets_in_use(self.held[CLUSTER])
            used = {name for copy in self.held[CLUSTER].values() for name in uses(copy.body)}
            self.want(ENDPOINT, used - secrets)
            self.want(SECRET, secrets)

    def secrets_in_use(self, clusters: Container[str]) -> set[str]:
        """By those of `clusters` that it holds, as it holds them."""
        held = {name: copy for name, copy in self.held[CLUSTER].items() if name in clusters}
        return {name for copy in held.values() for name in uses(copy.body)}.intersection(SECRET_NAMES)

    def want(self, kind: TypeUrl, names: Iterable[str]) -> None:
        """Change the subscription to a type to exactly these names; what is not wanted is dropped."""
        wanted = set(names)
        before, self.names[kind] = self.names[kind], wanted
        if before == wanted:
            return
        for name in before - wanted:
            self.held[kind].pop(name, None)
        self.rejected[kind] = {each for each in self.rejected[kind] if each[0] in wanted}
        if kind in self.opened:
            self.change(kind, wanted - before, before - wanted)
        else:
            self.open(kind)

    def open(self, kind: TypeUrl) -> None:
        """Send the first request for a type."""
        self.opened.add(kind)
        self.greet(kind)

    def lacking(self) -> set[tuple[str, str]]:
        """Pairs of a route configuration that is in use, or a virtual host of one, and a cluster that it
        needs and that is not here, but for clusters that the client itself rejected."""
        rejected = {name for name, _ in self.rejected[CLUSTER]}
        followed = {name for copy in self.held[LISTENER].values() for name in uses(copy.body)}
        used = {name: self.held[ROUTE][name] for name in followed if name in self.held[ROUTE]}
        hosts = {n: copy for n, copy in self.held[VIRTUAL_HOST].items() if n.partition("/")[0] in used}
        return {
            (name, target)
            for name, copy in (used | hosts).items()
            for target in uses(copy.body)
            if target not in self.held[CLUSTER] and target not in rejected
        }

    def expected(self, current: Snapshot, kind: TypeUrl) -> dict[str, bytes]:
        """What the client should hold, but for what it rejected."""
        return {
            name: each.body
            for name, each in current.of(kind).resources.items()
            if (kind in self.wildcards or name in self.names.get(kind, ()))
            and (name, each.body) not in self.rejected[kind]
        }

    def actual(self, current: Snapshot, kind: TypeUrl) -> dict[str, bytes]:
        """What it holds, but for what it rejected, and for what may not or cannot be taken from it: while
        something is rejected, what that may need; assignments, secrets and routes in SotW."""
        undeletable = self.partial[kind] and not self.partial[CLUSTER]
        lingering = undeletable or any(self.rejected.values())
        return {
            name: copy.body
            for name, copy in self.held[kind].items()
            if (wanted := current.get(ResourceKey(kind, name))) is None
            or (name, wanted.body) not in self.rejected[kind]
            if wanted is not None or not lingering
        }

    @abstractmethod
    def start(self) -> None:
        """Make the machine of a new stream."""

    @abstractmethod
    def decode(self, response: Response) -> tuple[dict[str, Copy], list[str]]:
        """Resources and removed names, read from the response's bytes."""

    @abstractmethod
    def accepted(self, response: Response) -> None:
        """Remember what the next request must say."""

    @abstractmethod
    def lost(self, kind: TypeUrl, names: set[str]) -> None:
        """These were taken from it with a response that it rejected."""

    @abstractmethod
    def greet(self, kind: TypeUrl) -> None:
        """Queue a first request."""

    @abstractmethod
    def change(self, kind: TypeUrl, added: set[str], dropped: set[str]) -> None:
        """Queue a change of subscription."""

    @abstractmethod
    def answer(self, kind: TypeUrl, *, accept: bool) -> None:
        """Queue an ACK or NACK of the last response."""

    @abstractmethod
    def again(self, kind: TypeUrl, names: set[str]) -> None:
        """Ask for what is already subscribed, as the variant allows."""

    @abstractmethod
    def stale(self, kind: TypeUrl, nonce: str) -> None:
        """Queue a request with a nonce of the past."""

    @abstractmethod
    def asks(self, request: Any) -> None:
        """Note in the ledger what a request that reaches the machine gives a reason to send."""


class ModelSotw(ModelClient):
    """State of the world, with the full state of clusters and listeners."""

    partial: ClassVar[Mapping[TypeUrl, bool]] = {kind: kind not in FULL for kind in ORDER}
    wildcards = FULL

    def __init__(self, *, follows_clusters: bool = False) -> None:
        self.versions: dict[TypeUrl, str] = {}
        super().__init__(follows_clusters=follows_clusters)

    def start(self) -> None:
        self.machine, self.reader = SotwMachine(StreamId(1)), SotwReader()

    def decode(self, response: Response) -> tuple[dict[str, Copy], list[str]]:
        message = discovery_pb2.DiscoveryResponse.FromString(_ENCODER.sotw(response))
        names = [each.name for each in response.resources]
        copies = zip(names, message.resources, strict=True)
        return {name: Copy(message.version_info, each.value) for name, each in copies}, []

    def accepted(self, response: Response) -> None:
        self.versions[response.type_url] = response.version

    def lost(self, kind: TypeUrl, names: set[str]) -> None:
        if names:  # Envoy would go on to claim the version, and be believed (rule 30)
            self.versions.pop(kind, None)

    def greet(self, kind: TypeUrl) -> None:
        self._send(kind)

    def change(self, kind: TypeUrl, added: set[str], dropped: set[str]) -> None:
        del added, dropped  # every request lists every name
        self._send(kind)

    def answer(self, kind: TypeUrl, *, accept: bool) -> None:
        self._send(kind, error=not accept)

    def again(self, kind: TypeUrl, names: set[str]) -> None:
        del names
        self._send(kind)

    def stale(self, kind: TypeUrl, nonce: str) -> None:
        self._send(kind, nonce=nonce)

    def _send(self, kind: TypeUrl, *, nonce: str | None = None, error: bool = False) -> None:
        message = discovery_pb2.DiscoveryRequest(
            type_url=kind,
            resource_names=sorted(self.names.get(kind, ())),
            version_info=self.versions.get(kind, ""),
            response_nonce=self.last_nonce.get(kind, "") if nonce is None else nonce,
        )
        if error:
            message.error_detail.message = "rejected"
        self.outbox.append(message)

    def asks(self, request: Any) -> None:
        kind, names = TypeUrl(request.type_url), set(request.resource_names)
        ledger = self.ledger
        if not ledger.opens(kind, self.held[kind]):
            ledger.answered(kind, request.response_nonce, error=request.HasField("error_detail"))
        before = set(ledger.subscribed[kind])
        ledger.subscribe(kind, names - before)
        ledger.unsubscribe(kind, before - names)


class ModelDelta(ModelClient):
    """Incremental."""

    partial = dict.fromkeys(ORDER, True)
    wildcards = (*FULL, VIRTUAL_HOST)

    def start(self) -> None:
        self.machine, self.reader = DeltaMachine(StreamId(2)), DeltaReader()

    def decode(self, response: Response) -> tuple[dict[str, Copy], list[str]]:
        message = discovery_pb2.DeltaDiscoveryResponse.FromString(_ENCODER.delta(response))
        copies = {each.name: Copy(each.version, each.resource.value) for each in message.resources}
        return copies, list(message.removed_resources)

    def accepted(self, response: Response) -> None:
        pass  # a delta client says by name what it has

    def lost(self, kind: TypeUrl, names: set[str]) -> None:
        pass  # likewise

    def greet(self, kind: TypeUrl) -> None:
        claims = {name: copy.version for name, copy in self.held[kind].items()}
        self._send(kind, subscribe=self.names.get(kind, set()), claims=claims)

    def change(self, kind: TypeUrl, added: set[str], dropped: set[str]) -> None:
        self._send(kind, subscribe=added, unsubscribe=dropped)

    def answer(self, kind: TypeUrl, *, accept: bool) -> None:
        self._send(kind, nonce=self.last_nonce[kind], error=not accept)

    def again(self, kind: TypeUrl, names: set[str]) -> None:
        self._send(kind, subscribe=names)

    def stale(self, kind: TypeUrl, nonce: str) -> None:
        self._send(kind, nonce=nonce)

    def _send(
        self,
        kind: TypeUrl,
        *,
        subscribe: Iterable[str] = (),
        unsubscribe: Iterable[str] = (),
        nonce: str = "",
        claims: Mapping[str, str] | None = None,
        error: bool = False,
    ) -> None:
        message = discovery_pb2.DeltaDiscoveryRequest(
            type_url=kind,
            resource_names_subscribe=sorted(subscribe),
            resource_names_unsubscribe=sorted(unsubscribe),
            response_nonce=nonce,
            initial_resource_versions=claims or {},
        )
        if error:
            message.error_detail.message = "rejected"
        self.outbox.append(message)

    def asks(self, request: Any) -> None:
        kind = TypeUrl(request.type_url)
        if not self.ledger.opens(kind, self.held[kind]):
            self.ledger.answered(kind, request.response_nonce, error=request.HasField("error_detail"))
        self.ledger.subscribe(kind, set(request.resource_names_subscribe))
        self.ledger.unsubscribe(kind, set(request.resource_names_unsubscribe))
