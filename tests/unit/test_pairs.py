"""What becomes of what Envoys log: pairs in the records of shadows, and the share that is logged."""

from typing import Any
from zlib import crc32

import pytest

from tests.support import objects
from tests.unit.test_pipeline import _changes
from xds_server.base.address import Address
from xds_server.base.ids import NamespacedName, NodeId, StreamId
from xds_server.core.objects import Kind, Ref
from xds_server.core.verdict.evidence import Counts
from xds_server.core.verdict.joining import Lost
from xds_server.core.verdict.record import Record
from xds_server.core.verdict.tally import Speed
from xds_server.core.world import Change, Delete
from xds_server.server import pairs as pairs_module
from xds_server.server.observer import Observer
from xds_server.server.pairs import TICK_S, Pairs
from xds_server.server.pipeline import Pipeline, Published
from xds_server.server.views import View
from xds_server.xds.loads import Load
from xds_server.xds.upstream_requests import Entries, UpstreamRequest

SERVICE = NamespacedName("staging", "myapp")
CANARY = NamespacedName("staging", "myapp-canary")
PRIMARY, SHADOW = "staging/myapp/http", "staging/myapp/http/shadow/myapp-canary"
BASELINE = "staging/myapp/http/baseline/myapp-canary"
ENVOY = StreamId(1)
WINDOW_S = 12.0
ANYTHING = View()
ABANDONED: dict[str, Any] = {"code": 0, "complete": False}
REFUSED: dict[str, Any] = {"code": 0, "complete": False, "broken": True}


def request(cluster: str, number: int = 0, **fields: Any) -> UpstreamRequest:
    """One that was answered with 200."""
    found = UpstreamRequest(
        cluster=cluster,
        route="all" if cluster == PRIMARY else "",
        id=f"{number:032x}",
        method="GET",
        path="/orders/17?user=bob",
        code=200,
        complete=True,
        broken=False,
        content_type="application/json",
        grpc=None,
        latency_s=0.002,
        size=10,
    )
    return found._replace(**fields)


def shadowed(canary: str = "canary-1-x", stable: str = "stable-1-x") -> list[Change]:
    """A shadow and its Pods; each Pod has an address of its own."""
    return _changes(
        objects.namespace(),
        objects.service(),
        *objects.endpoint_slice("myapp", [(stable, _address(stable))]),
        objects.canary("myapp-canary", shadow_of="myapp", selects=None),
        objects.pod(canary, _address(canary)),
    )


def _address(pod: str) -> Address:
    return Address("10.0.0." + str(crc32(pod.encode()) % 250 + 1), 80)


class Steps:
    """A pipeline whose shadows Envoys report of; `now` is the time of all clocks."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.resampled = 0
        self.observer = Observer(wall=lambda: self.now)
        self.pairs = Pairs(self.observer, self._resample, clock=lambda: self.now, wall=lambda: self.now)
        self.published: Published | None = None
        self.pipeline = Pipeline(gateway_port=8080, expose_all=False, clock=lambda: 0.0)
        self.observer.loads.join(ENVOY, NodeId("envoy"), now=0.0)

    def _resample(self) -> None:
        self.resampled += 1
        self.pipeline.tails = self.pairs.tails

    def step(self, *changes: Change) -> None:
        after = self.pipeline.step(changes, now=0.0)
        self.observer.stepped(self.published, after)
        self.pairs.stepped(self.published, after)
        self.published = after

    def take(self, *requests: UpstreamRequest, view: View = ANYTHING) -> None:
        self.pairs.take(ENVOY, view, [*requests])

    def report(self, mirrored: int) -> None:
        loads = [(PRIMARY, Load(mirrored)), (SHADOW, Load(mirrored))]
        self.observer.loads.report(ENVOY, loads, self.observer.wanted(ANYTHING), now=0.0)

    def pass_(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += TICK_S
            self.pairs.tick()

    @property
    def record(self) -> Record:
        return self.observer.records()[CANARY]


@pytest.fixture
def steps() -> Steps:
    found = Steps()
    found.step(*shadowed())
    return found


def test_both_sides_of_a_request_are_a_pair_once_its_window_has_ended(steps: Steps) -> None:
    steps.take(request(SHADOW, code=503, latency_s=0.5), request(PRIMARY))
    steps.pass_(WINDOW_S - TICK_S)
    assert steps.record.tally.counts == Counts(0)
    steps.pass_(2 * TICK_S)
    [(name, group)] = steps.record.tally.groups.items()
    assert (name, group.counts) == ("GET /orders/{id}", Counts(1, 1, 0))
    assert group.codes == {("200", "503"): 1}
    assert steps.pairs.entries() == Entries(2, 0, 0)


def test_the_canarys_latency_is_judged_by_its_baseline(steps: Steps) -> None:
    slow = request(SHADOW, latency_s=0.05)
    steps.take(request(BASELINE), request(PRIMARY), request(BASELINE, latency_s=9.0), slow)
    steps.pass_(WINDOW_S + TICK_S)
    assert steps.record.tally.counts == Counts(1)
    assert steps.record.tally.speed == Speed(slower=1, faster=0)


@pytest.mark.parametrize(
    ("fields", "failed"),
    [
        ({"code": 404}, False),
        ({"code": 500}, True),
        ({"complete": False}, True),  # a response that was cut, or that did not end in time
        (REFUSED, True),
        ({"code": 0, "complete": False}, True),  # no response in time
        ({"grpc": 0}, False),
        ({"grpc": 5}, True),
    ],
)
def test_what_counts_as_a_failure_of_a_canary(steps: Steps, fields: dict[str, Any], failed: bool) -> None:
    steps.take(request(PRIMARY), request(SHADOW, **fields))
    steps.pass_(WINDOW_S + TICK_S)
    assert steps.record.tally.counts == Counts(1, failed, 0)


@pytest.mark.parametrize(
    ("primary", "counts", "lost"),
    [
        ([{"code": 503}], Counts(1, 0, 1), {}),
        ([REFUSED], Counts(1, 0, 1), {}),
        ([REFUSED, REFUSED, {}], Counts(1), {}),
        ([{"complete": False, "broken": True}], Counts(1, 0, 1), {}),
        ([ABANDONED], Counts(0), {Lost.ABANDONED: 1}),
        ([{"complete": False}], Counts(0), {Lost.ABANDONED: 1}),
        ([{}, {}], Counts(0), {Lost.AMBIGUOUS: 1}),
        ([{"code": 503}, {}], Counts(0), {Lost.AMBIGUOUS: 1}),
        ([], Counts(0), {Lost.NO_PRIMARY: 1}),
    ],
)
def test_what_counts_of_the_primary(
    steps: Steps, primary: list[dict[str, Any]], counts: Counts, lost: dict[Lost, int]
) -> None:
    steps.take(*(request(PRIMARY, **fields) for fields in primary), request(SHADOW))
    steps.pass_(WINDOW_S + TICK_S)
    assert (steps.record.tally.counts, dict(steps.record.tally.lost)) == (counts, lost)


def test_a_request_that_is_mirrored_and_not_sent_is_counted(steps: Steps) -> None:
    steps.take(request(PRIMARY), request(PRIMARY, 1, route="of another version"))
    steps.pass_(WINDOW_S + TICK_S)
    assert dict(steps.record.tally.lost) == {Lost.NOT_SENT: 1}


def test_an_envoy_is_believed_about_the_clusters_of_its_view(steps: Steps) -> None:
    steps.take(request(PRIMARY), request("elsewhere"))
    steps.take(request(SHADOW), view=View(namespaces=frozenset({"other"})))
    steps.pass_(WINDOW_S + TICK_S)
    assert steps.pairs.entries() == Entries(1, 2, 0)
    assert dict(steps.record.tally.lost) == {Lost.NOT_SENT: 1}


def test_what_waits_ends_with_its_stream(steps: Steps) -> None:
    steps.take(request(PRIMARY), request(SHADOW))
    steps.pairs.ended(ENVOY)
    steps.pass_(TICK_S)
    assert steps.record.tally.counts == Counts(1)


def test_a_service_without_a_shadow_is_followed_no_more(steps: Steps) -> None:
    steps.take(request(PRIMARY))
    steps.step(*_changes(objects.canary(paused="true")))
    steps.take(request(PRIMARY, 1))
    assert steps.pairs.entries() == Entries(1, 1, 1)
    steps.pass_(WINDOW_S + TICK_S)
    assert dict(steps.record.tally.lost) == {Lost.NOT_SENT: 1}


def test_pairs_are_expected_by_load_reports_once_they_can_be_there(steps: Steps) -> None:
    steps.report(100)
    steps.pass_(WINDOW_S)
    assert steps.record.expected == 0
    steps.pass_(4 * TICK_S)
    assert steps.record.expected == 100


@pytest.mark.parametrize("side", ["canary", "stable"])
def test_evidence_begins_again_with_another_template(steps: Steps, side: str) -> None:
    steps.report(10)
    steps.take(request(PRIMARY), request(SHADOW))
    steps.pass_(WINDOW_S + 5 * TICK_S)
    template, began = steps.record.template, steps.record.since
    assert template
    steps.take(request(PRIMARY, 1), request(SHADOW, 1))
    # A Pod of the same ReplicaSet changes nothing.
    steps.step(*shadowed(stable="stable-1-y"))
    assert (steps.record.template, steps.record.since, steps.record.expected) == (template, began, 10)
    gone = [_without_pod("canary-1-x")] if side == "canary" else []
    steps.step(*shadowed(**{"stable": "stable-1-y", side: f"{side}-2-x"}), *gone)
    assert steps.record.template not in ("", template)
    assert (steps.record.since, steps.record.expected) == (steps.now, 0)
    steps.take(request(PRIMARY, 2), request(SHADOW, 2))
    steps.report(5)
    steps.pass_(WINDOW_S + 5 * TICK_S)
    assert (steps.record.tally.counts, steps.record.expected) == (Counts(1), 5)


def test_evidence_begins_again_when_the_label_is_set_again(steps: Steps) -> None:
    # Envoy ends mirrored requests that are in flight when it removes the canary's cluster.
    steps.take(request(PRIMARY), request(SHADOW, complete=False, code=0))
    steps.step(*_changes(objects.canary("myapp-canary", shadow_of=None)))
    steps.step(*shadowed())
    steps.take(request(PRIMARY, 1), request(SHADOW, 1))
    steps.pass_(WINDOW_S + TICK_S)
    assert (steps.record.tally.counts, dict(steps.record.tally.lost)) == (Counts(1), {})


def test_a_new_pod_may_have_the_address_of_the_one_before(steps: Steps) -> None:
    template = steps.record.template
    steps.step(*_changes(objects.pod("canary-2-x", _address("canary-1-x"))), _without_pod("canary-1-x"))
    assert steps.published is not None
    assert steps.published.moved == frozenset()
    assert steps.record.template != template


def _without_pod(name: str) -> Delete:
    return Delete(Ref(Kind.POD, "staging", name))


def tails_of(steps: Steps) -> tuple[bool, bool]:
    """Whether the metadata of the mirrored routes and of the canary's endpoints select a sixteenth."""
    assert steps.published is not None
    bodies = [
        b"".join(resource.body for resource in found.resources.values() if b"myapp" in resource.body)
        for type_url, found in steps.published.snapshot.types.items()
        if type_url.endswith(("VirtualHost", "ClusterLoadAssignment"))
    ]
    return (
        all(b"xds-shadow.pairs" in each for each in bodies),
        all(b"xds-shadow.all-pairs" in each for each in bodies),
    )


def test_the_share_follows_the_load_in_routes_and_endpoints(steps: Steps) -> None:
    assert tails_of(steps) == (False, True)
    for _ in range(3):
        steps.report(6_000)
        steps.pass_(TICK_S)
    assert (steps.pairs.tails, steps.resampled) == ({SERVICE: "0"}, 1)
    before = steps.published
    steps.step()
    assert tails_of(steps) == (True, False)
    assert steps.published is not None
    assert before is not None
    changed = {
        type_url.rpartition(".")[2]
        for type_url, version in steps.published.snapshot.versions().items()
        if before.snapshot.versions()[type_url] != version
    }
    assert changed == {"VirtualHost", "ClusterLoadAssignment"}
    assert steps.published.moved == frozenset()
    steps.pass_(20.0)
    assert steps.resampled == 1  # not at once
    steps.pass_(20.0)
    assert (steps.pairs.tails, steps.resampled) == ({}, 2)


def test_pairs_are_expected_by_the_share_that_was_logged(steps: Steps) -> None:
    for _ in range(4):
        steps.report(16_000)
        steps.pass_(TICK_S)
    steps.pass_(WINDOW_S + 5 * TICK_S)
    # Three reports at all of them; then one in whose interval both shares may have counted.
    assert steps.record.expected == 3 * 16_000 + 1_000


def test_a_shadow_that_comes_back_is_logged_as_a_new_one(steps: Steps) -> None:
    for _ in range(3):
        steps.report(6_000)
        steps.pass_(TICK_S)
    steps.step()
    steps.step(*_changes(objects.canary(paused="true")))
    assert (steps.pairs.tails, steps.pipeline.tails) == ({}, {})
    steps.step(*shadowed())
    assert tails_of(steps) == (False, True)


def test_a_stream_of_forged_entries_takes_a_bounded_room(steps: Steps) -> None:
    absurd = {"latency_s": 86_400.0, "size": 2**53, "route": "x" * 1_000}
    for start in range(0, 120_000, 1_000):
        steps.take(*(request(PRIMARY, number, **absurd) for number in range(start, start + 1_000)))
    assert steps.pairs.entries().waiting <= 50_000
    steps.pass_(WINDOW_S + TICK_S)
    assert steps.record.tally.lost[Lost.EVICTED] == 0  # nobody is known to have lost a pair
    assert steps.record.tally.counts == Counts(0)


def other_shadow() -> list[Change]:
    """A shadow of the Service ``web``."""
    labels = {"app": "web-canary"}
    return _changes(
        objects.service("web"),
        *objects.endpoint_slice("web", [("web-1-x", _address("web-1-x"))]),
        objects.canary("web-canary", shadow_of="web"),
        objects.pod("web-canary-1-x", _address("web-canary-1-x"), labels=labels),
    )


def test_a_bug_in_one_shadow_costs_no_other_shadow_its_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_view: object, service: str, *_others: object) -> str:
        if service == "myapp":
            raise ZeroDivisionError
        return "a template"

    monkeypatch.setattr(pairs_module, "template_of", broken)
    steps = Steps()
    steps.step(*shadowed(), *other_shadow())
    web, shadow = "staging/web/http", "staging/web/http/shadow/web-canary"
    steps.take(request(PRIMARY), request(SHADOW), request(web, 1, route="all"), request(shadow, 1))
    monkeypatch.setattr(steps.record.tally, "add", None)
    steps.pass_(WINDOW_S + TICK_S)
    other = steps.observer.records()[NamespacedName("staging", "web-canary")]
    assert (other.template, other.tally.counts) == ("a template", Counts(1))
    assert steps.record.tally.counts == Counts(0)


LATE: dict[str, Any] = {"code": 0, "complete": False, "latency_s": 9.99}
"""The timeout is 10 s."""


@pytest.mark.parametrize(
    ("primary", "canary", "counts"),
    [
        ({"latency_s": 10.5, "first_s": 10.5}, LATE, Counts(1)),
        ({"latency_s": 10.5, "first_s": 1.0}, LATE, Counts(1)),
        ({"latency_s": 10.5, "first_s": 10.5}, {}, Counts(1, 0, 1)),
        # A caller who reads slowly makes no failure of the primary.
        ({"latency_s": 10.5, "first_s": 1.0}, {}, Counts(1)),
        ({"latency_s": 9.0, "first_s": 9.0}, LATE, Counts(1, 1)),
        ({"latency_s": 10.5, "first_s": 1.0}, {**REFUSED, "latency_s": 9.99}, Counts(1, 1)),
        ({"latency_s": 10.5, "first_s": 1.0}, {"code": 500}, Counts(1, 1)),
    ],
)
def test_the_primary_may_take_as_long_as_the_canary(
    steps: Steps, primary: dict[str, Any], canary: dict[str, Any], counts: Counts
) -> None:
    steps.take(request(PRIMARY, **primary), request(SHADOW, **canary))
    steps.pass_(WINDOW_S + TICK_S)
    assert steps.record.tally.counts == counts
