"""Any history of snapshots, requests, ACKs, NACKs and reconnects: what must hold of a client at all times.

- A client that has answered everything and is owed nothing holds exactly its part of the snapshot.
- Once in sync, it never uses a route configuration or a virtual host that names a cluster it does not hold,
  and no secret is taken from it that a cluster uses which stays.
- Nothing is sent without a reason, and every request for a name is answered (`model.Ledger`).
"""

from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.xds.model import SECRET_NAMES, ModelClient, ModelDelta, ModelSotw
from tests.unit.xds.worlds import CLUSTERS, SPARE, after, some_keys, touched, worlds
from xds_server.base.ids import TypeUrl
from xds_server.xds.order import ORDER
from xds_server.xds.resource import Resource, ResourceKey
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.types import CLUSTER, ENDPOINT, SECRET

_PATIENCE = 200


class OneClient(RuleBasedStateMachine):
    """A server and one client; the subclasses say which variant."""

    client: ModelClient

    @initialize(world=worlds())
    def begin(self, world: list[Resource]) -> None:
        self.snapshot = Snapshot().updated(world)

    @rule(world=worlds())
    def commit(self, world: list[Resource]) -> None:
        self.snapshot = after(self.snapshot, world)

    @rule(keys=some_keys, rev=st.integers(0, 2))
    def touch(self, keys: set[ResourceKey], rev: int) -> None:
        self.snapshot = touched(self.snapshot, keys, rev)

    @rule(times=st.integers(1, 4))
    def push(self, times: int) -> None:
        for _ in range(times):
            self.client.push(self.snapshot)

    @precondition(lambda self: self.client.inbox)
    @rule(accept=st.sampled_from([True, True, True, False]))
    def process(self, *, accept: bool) -> None:
        self.client.process(accept=accept)

    @precondition(lambda self: self.client.outbox)
    @rule(times=st.integers(1, 4))
    def deliver(self, times: int) -> None:
        for _ in range(min(times, len(self.client.outbox))):
            self.client.deliver()

    @rule(names=st.sets(st.sampled_from((*CLUSTERS, "none"))))
    def want_assignments(self, names: set[str]) -> None:
        self.client.want(ENDPOINT, names)

    @rule(names=st.sets(st.sampled_from((*SECRET_NAMES, "none"))))
    def want_secrets(self, names: set[str]) -> None:
        self.client.want(SECRET, names)

    @rule(names=st.sets(st.sampled_from((*SPARE, "none"))))
    def want_spare_routes(self, names: set[str]) -> None:
        self.client.spare_routes = names
        self.client.follow()

    @precondition(lambda self: self.client.names[ENDPOINT])
    @rule(data=st.data())
    def ask_again(self, data: Any) -> None:
        names = data.draw(st.sets(st.sampled_from(sorted(self.client.names[ENDPOINT])), min_size=1))
        self.client.again(ENDPOINT, names)

    @rule(kind=st.sampled_from(ORDER), data=st.data())
    def answer_late(self, kind: TypeUrl, data: Any) -> None:
        if self.client.old_nonces[kind]:
            self.client.stale(kind, data.draw(st.sampled_from(self.client.old_nonces[kind])))

    @rule()
    def reconnect(self) -> None:
        self.client.connect()

    @rule()
    def settle(self) -> None:
        """Let everything arrive and be accepted; then the client must have what it is due."""
        client = self.client
        for _ in range(_PATIENCE):
            if client.outbox:
                client.deliver()
            elif client.inbox:
                client.process(accept=True)
            elif not client.push(self.snapshot) and not client.wait():
                break
        else:
            raise AssertionError("the exchange does not end")
        for kind in ORDER:
            assert client.actual(self.snapshot, kind) == client.expected(self.snapshot, kind)
        for kind, asked in client.ledger.asked.items():
            unanswered = asked - {name for name, _ in client.rejected[kind]}
            if not client.partial[CLUSTER]:
                unanswered &= set(self.snapshot.of(kind).resources)
            assert not unanswered, f"{unanswered} never answered"
        # Of a client in state of the world that rejects on a new stream nobody knows what it has.
        client.synced |= client.partial[CLUSTER] or not any(client.rejected.values())

    @invariant()
    def make_before_break(self) -> None:
        assert not self.client.synced or not self.client.lacking()

    def teardown(self) -> None:
        if hasattr(self, "snapshot"):
            self.settle()


class OneSotwClient(OneClient):
    """State of the world."""

    def __init__(self) -> None:
        super().__init__()
        self.client = ModelSotw()


class OneDeltaClient(OneClient):
    """Incremental."""

    def __init__(self) -> None:
        super().__init__()
        self.client = ModelDelta()


_LONG = settings(
    max_examples=150,
    stateful_step_count=50,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],  # explaining takes minutes
)
TestSotwClient = OneSotwClient.TestCase
TestSotwClient.settings = _LONG
TestDeltaClient = OneDeltaClient.TestCase
TestDeltaClient.settings = _LONG
