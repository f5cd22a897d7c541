"""What files say from one reading to the next, without files and without time."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.kube.manifests import service
from xds_server.core.conditions import Condition, Subject
from xds_server.core.decode import from_mapping
from xds_server.core.objects import Kind, Object, Ref
from xds_server.core.world import Change, Delete, Report, Upsert, World
from xds_server.manifests.documents import Manifest, unreadable
from xds_server.manifests.state import Held, Ledger, changes, loses, merge, settle


def ref(name: str) -> Ref:
    return Ref(Kind.SERVICE, "staging", name)


def obj(name: str, port: int = 80) -> Object:
    found = from_mapping(service(name, port=port), "")
    assert found is not None
    return found


def manifest(*names: str, port: int = 80, rejected: str = "", complete: bool = True) -> Manifest:
    problems = tuple(Condition(Subject(name=name), "InvalidObject", "It is wrong.") for name in rejected)
    objects = {ref(name): obj(name, port) for name in names}
    return Manifest(objects, frozenset(map(ref, rejected)), problems, complete)


def held(*names: str, port: int = 80) -> Held:
    return Held({ref(name): obj(name, port) for name in names})


BROKEN = unreadable("a.yaml", "InvalidYaml", "It is broken.")


class TestSettle:
    def test_a_good_file_says_what_it_declares(self) -> None:
        assert settle(held("a", "b"), manifest("b", "c")) == held("b", "c")

    def test_a_broken_file_keeps_everything(self) -> None:
        assert settle(held("a"), BROKEN) == Held(held("a").objects, BROKEN.problems)

    def test_a_rejected_object_keeps_its_last_good_version(self) -> None:
        after = settle(held("a", "b", port=1), manifest("b", port=2, rejected="a"))
        assert after.objects == {ref("a"): obj("a", 1), ref("b"): obj("b", 2)}

    def test_an_object_that_was_never_good_is_not_there(self) -> None:
        assert settle(Held(), manifest(rejected="a")).objects == {}

    def test_an_unnamed_document_may_be_any_of_the_missing(self) -> None:
        after = settle(held("a", "b", port=1), manifest("b", port=2, complete=False))
        assert after.objects == {ref("a"): obj("a", 1), ref("b"): obj("b", 2)}

    def test_only_missing_objects_are_a_loss(self) -> None:
        assert loses(held("a", "b"), held("a"))
        assert not loses(held("a"), held("a", "b", port=2))


class TestMerge:
    def test_the_first_path_wins_and_the_other_file_is_told(self) -> None:
        view = merge({"b.yaml": held("a", port=2), "a.yaml": held("a", port=1)})
        assert view.objects == {ref("a"): obj("a", 1)}
        (problem,) = view.reports["b.yaml"]
        assert (problem.reason, str(problem.subject), problem.origin) == (
            "DuplicateObject",
            "Service staging/a",
            "b.yaml",
        )
        assert "a.yaml" in problem.message
        assert "a.yaml" not in view.reports

    def test_changes_are_what_differs(self) -> None:
        before = merge({"a": held("x", "y"), "b": settle(Held(), BROKEN)})
        after = merge({"a": held("y", "z")})
        assert changes(before, after) == [Delete(ref("x")), Upsert(obj("z")), Report("b", ())]
        assert changes(after, after) == []


class TestLedger:
    def test_the_first_reading_counts_at_once(self) -> None:
        assert Ledger(1.0).observe({"a": manifest("x")}, now=0.0) == [Upsert(obj("x"))]

    def test_an_absent_file_is_waited_for(self) -> None:
        ledger = Ledger(1.0)
        ledger.observe({"a": manifest("x")}, now=0.0)
        assert ledger.observe({}, now=5.0) == []
        assert ledger.due == 6.0
        assert ledger.observe({}, now=5.9) == []
        assert ledger.observe({}, now=6.0) == [Delete(ref("x"))]
        assert ledger.due is None

    def test_a_file_that_comes_back_was_never_gone(self) -> None:
        ledger = Ledger(1.0)
        ledger.observe({"a": manifest("x")}, now=0.0)
        ledger.observe({}, now=5.0)
        assert ledger.observe({"a": manifest("x")}, now=5.5) == []
        assert ledger.due is None
        assert ledger.observe({}, now=9.0) == []

    def test_every_new_reading_that_loses_starts_the_wait_anew(self) -> None:
        ledger = Ledger(1.0)
        ledger.observe({"a": manifest("x", "y")}, now=0.0)
        assert ledger.observe({"a": manifest()}, now=1.0) == []
        assert ledger.observe({"a": manifest("x")}, now=1.9) == []
        assert ledger.observe({"a": manifest("x")}, now=2.1) == []
        assert ledger.observe({"a": manifest("x")}, now=2.9) == [Delete(ref("y"))]

    def test_an_edit_that_loses_nothing_counts_at_once(self) -> None:
        ledger = Ledger(1.0)
        ledger.observe({"a": manifest("x", port=1)}, now=0.0)
        assert ledger.observe({"a": manifest("x", port=2)}, now=0.1) == [Upsert(obj("x", 2))]

    def test_one_file_in_doubt_holds_up_no_other(self) -> None:
        ledger = Ledger(1.0)
        ledger.observe({"a": manifest("x")}, now=0.0)
        assert ledger.observe({"b": manifest("y")}, now=0.1) == [Upsert(obj("y"))]

    def test_a_file_that_is_renamed_loses_nothing(self) -> None:
        ledger = Ledger(1.0)
        ledger.observe({"a": manifest("x")}, now=0.0)
        moved = ledger.observe({"b": manifest("x")}, now=0.1) + ledger.observe({"b": manifest("x")}, now=1.1)
        assert {type(change) for change in moved} == {Report}
        assert moved[-1] == Report("b", ())

    def test_a_broken_file_is_reported_until_it_is_good_again(self) -> None:
        ledger = Ledger(1.0)
        ledger.observe({"a": manifest("x")}, now=0.0)
        assert ledger.observe({"a": BROKEN}, now=1.0) == [Report("a", BROKEN.problems)]
        assert ledger.observe({"a": BROKEN}, now=9.0) == []
        assert ledger.observe({"a": manifest("x")}, now=10.0) == [Report("a", ())]


Files = Mapping[str, Manifest]

GOOD = st.builds(
    lambda names, port: manifest(*sorted(names), port=port),
    st.sets(st.sampled_from("xyz")),
    st.integers(1, 3),
)
FILES = st.dictionaries(st.sampled_from(["a", "b", "c"]), GOOD)
READINGS = st.lists(FILES | FILES.map(lambda files: dict.fromkeys(files, BROKEN)), max_size=6)


def after(history: list[Files], settle_for: float) -> tuple[World, Ledger]:
    """The world that a ledger's changes make, with every reading repeated until it has lasted."""
    ledger, world, now = Ledger(settle_for), World(), 0.0
    for readings in history:
        for _ in range(2):
            found: list[Change] = ledger.observe(readings, now)
            world, _changed = world.apply(found)
            now += settle_for
    return world, ledger


@given(READINGS, FILES)
def test_whatever_came_before_good_files_say_the_same(history: list[Files], last: Files) -> None:
    world, _ = after([*history, last], 1.0)
    fresh, _ = after([last], 1.0)
    assert world == fresh


@given(FILES, st.permutations(["a", "b", "c"]))
def test_the_order_in_which_files_appear_does_not_matter(files: Files, order: list[str]) -> None:
    history: list[Files] = [{}]
    for path in order:
        if path in files:
            history.append({**history[-1], path: files[path]})
    assert after(history, 0.5)[0] == after([files], 0.5)[0]


@given(FILES)
def test_breaking_every_file_takes_nothing_away(files: Files) -> None:
    good, _ = after([files], 1.0)
    broken, _ = after([files, dict.fromkeys(files, BROKEN)], 1.0)
    assert broken.namespaces == good.namespaces
