"""When conditions began."""

from tests.unit.pure import kube
from tests.unit.pure.kube import pipeline_of, service
from xds_server.core.conditions import NO_SUBJECT, Condition, Reason
from xds_server.core.objects import ref_of
from xds_server.core.world import Change, Delete, Report, Upsert
from xds_server.server.pipeline import Published
from xds_server.server.reporting import NEVER, FirstSeen


def dated(seen: FirstSeen, published: Published) -> dict[str, float | None]:
    return {str(each.subject): each.since for each in seen.dated(published.conditions())}


def test_a_condition_has_the_time_of_the_step_that_began_it() -> None:
    pipeline, seen, before = pipeline_of(), FirstSeen(), NEVER
    one, two = (service(name, annotations={"hosts": "no host"}) for name in ("one", "two"))
    report = Report("a.yaml", (Condition(NO_SUBJECT, Reason.INVALID_FILE, "It is broken.", origin="a.yaml"),))
    steps: tuple[tuple[list[Change], dict[str, float]], ...] = (
        ([Upsert(kube.namespace("staging")), Upsert(one)], {"Service staging/one": 1.0}),
        ([Upsert(two), report], {"Service staging/one": 1.0, "Service staging/two": 2.0, "": 2.0}),
        ([Delete(ref_of(one)), Report("a.yaml", ())], {"Service staging/two": 2.0}),
        ([Upsert(one), report], {"Service staging/one": 4.0, "Service staging/two": 2.0, "": 4.0}),
    )
    for now, (changes, expected) in enumerate(steps, start=1):
        after = pipeline.step(changes, now=float(now))
        seen.step(before, after, float(now))
        assert dated(seen, after) == expected
        before = after
