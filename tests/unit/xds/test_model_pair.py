"""A SotW and a delta client of one view, each at its own pace, end with the same configuration.

Both are served what `xds.variants` makes of the view's snapshot, as the servicer does it: the one has the
virtual hosts inside their route configuration, the other beside it (rule 25). Each follows by itself what its
listeners and clusters refer to.
"""

from envoy.config.route.v3 import route_components_pb2, route_pb2
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.xds.model import ModelClient, ModelDelta, ModelSotw
from tests.unit.xds.worlds import after, some_keys, touched, worlds
from xds_server.base.ids import TypeUrl
from xds_server.xds.order import ORDER
from xds_server.xds.resource import Resource, ResourceKey
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.stream_events import Variant
from xds_server.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, VIRTUAL_HOST
from xds_server.xds.variants import HostsMode, SnapshotAdapter

_PATIENCE = 400
_SAME = (CLUSTER, ENDPOINT, LISTENER, SECRET)
Routes = dict[str, tuple[str, list[str]]]
"""By name of a route configuration, what it says itself and what its virtual hosts say."""


def _routes_with_hosts_inside(client: ModelClient) -> Routes:
    found = {n: route_pb2.RouteConfiguration.FromString(c.body) for n, c in client.held[ROUTE].items()}
    return {
        name: (each.name, sorted(host.name for host in each.virtual_hosts)) for name, each in found.items()
    }


def _routes_with_hosts_beside(client: ModelClient) -> Routes:
    found = {n: route_pb2.RouteConfiguration.FromString(c.body) for n, c in client.held[ROUTE].items()}
    hosts = {
        name: route_components_pb2.VirtualHost.FromString(copy.body)
        for name, copy in client.held[VIRTUAL_HOST].items()
        if not name.endswith("/none")  # stands for no hosts at all (`xds.variants`)
    }
    return {
        name: (each.name, sorted(host.name for n, host in hosts.items() if n.startswith(f"{name}/")))
        for name, each in found.items()
    }


class TwoClients(RuleBasedStateMachine):
    """A server with a client of either variant."""

    def __init__(self) -> None:
        super().__init__()
        self.clients: dict[Variant, ModelClient] = {
            Variant.SOTW: ModelSotw(follows_clusters=True),
            Variant.DELTA: ModelDelta(follows_clusters=True),
        }
        self.adapters = {
            Variant.SOTW: SnapshotAdapter(HostsMode.INLINE),
            Variant.DELTA: SnapshotAdapter(HostsMode.VHDS),
        }
        self.snapshot = Snapshot()

    @initialize(world=worlds())
    def begin(self, world: list[Resource]) -> None:
        self.snapshot = after(self.snapshot, world)

    @rule(world=worlds())
    def commit(self, world: list[Resource]) -> None:
        self.snapshot = after(self.snapshot, world)

    @rule(keys=some_keys, rev=st.integers(0, 2))
    def touch(self, keys: set[ResourceKey], rev: int) -> None:
        self.snapshot = touched(self.snapshot, keys, rev)

    @rule(variant=st.sampled_from(Variant), times=st.integers(1, 4))
    def push(self, variant: Variant, times: int) -> None:
        for _ in range(times):
            self._push(variant)

    @precondition(lambda self: any(client.inbox for client in self.clients.values()))
    @rule(variant=st.sampled_from(Variant), accept=st.sampled_from([True, True, True, False]))
    def process(self, variant: Variant, *, accept: bool) -> None:
        if self.clients[variant].inbox:
            self.clients[variant].process(accept=accept)

    @rule(variant=st.sampled_from(Variant), times=st.integers(1, 4))
    def deliver(self, variant: Variant, times: int) -> None:
        client = self.clients[variant]
        for _ in range(min(times, len(client.outbox))):
            client.deliver()

    @rule(variant=st.sampled_from(Variant), kind=st.sampled_from(ORDER), data=st.data())
    def answer_late(self, variant: Variant, kind: TypeUrl, data: st.DataObject) -> None:
        client = self.clients[variant]
        if client.old_nonces[kind]:
            client.stale(kind, data.draw(st.sampled_from(client.old_nonces[kind])))

    @rule(variant=st.sampled_from(Variant))
    def reconnect(self, variant: Variant) -> None:
        self.clients[variant].connect()

    @rule()
    def settle(self) -> None:
        """Let everything arrive and be accepted, what was rejected over a new stream: then all is equal."""
        for variant, client in self.clients.items():
            self._drain(variant)
            if any(client.rejected.values()):
                client.connect()
                self._drain(variant)
            client.synced = True
        sotw, delta = self.clients[Variant.SOTW], self.clients[Variant.DELTA]
        for kind in _SAME:
            due = {
                name: each.body
                for name, each in self.snapshot.of(kind).resources.items()
                if kind in sotw.wildcards or name in sotw.names[kind]
            }
            assert {name: copy.body for name, copy in sotw.held[kind].items()} == due
            assert {name: copy.body for name, copy in delta.held[kind].items()} == due
        assert _routes_with_hosts_inside(sotw) == _routes_with_hosts_beside(delta)
        closed = SnapshotAdapter(HostsMode.INLINE).of(self.snapshot).of(ROUTE).resources
        assert {n: c.body for n, c in sotw.held[ROUTE].items()} == {
            n: closed[n].body for n in sotw.names[ROUTE]
        }

    @invariant()
    def make_before_break(self) -> None:
        for client in self.clients.values():
            assert not client.synced or not client.lacking()

    def teardown(self) -> None:
        self.settle()

    def _push(self, variant: Variant) -> bool:
        return self.clients[variant].push(self.adapters[variant].of(self.snapshot))

    def _drain(self, variant: Variant) -> None:
        client = self.clients[variant]
        for _ in range(_PATIENCE):
            if client.outbox:
                client.deliver()
            elif client.inbox:
                client.process(accept=True)
            elif not self._push(variant) and not client.wait():
                return
        raise AssertionError("the exchange does not end")


TestTwoClients = TwoClients.TestCase
TestTwoClients.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
