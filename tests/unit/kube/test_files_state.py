"""The effective content of manifest files, without a file system and without a clock."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.kube.manifests import service
from xds_server.core.conditions import Condition, Reason, Subject
from xds_server.core.decode import from_mapping
from xds_server.core.objects import Kind, Object, Ref
from xds_server.core.world import Change, Delete, Report, Upsert, World
from xds_server.manifests.documents import Manifest, unreadable
from xds_server.manifests.state import FileContent, FileStates, changes, effective, merge, removes_objects


def ref(name: str) -> Ref:
    return Ref(Kind.SERVICE, "staging", name)


def obj(name: str, port: int = 80) -> Object:
    found = from_mapping(service(name, port=port), "")
    assert found is not None
    return found


def manifest(*names: str, port: int = 80, rejected: str = "", complete: bool = True) -> Manifest:
    problems = tuple(
        Condition(Subject(name=name), Reason.INVALID_OBJECT, "It is wrong.") for name in rejected
    )
    objects = {ref(name): obj(name, port) for name in names}
    return Manifest(objects, frozenset(map(ref, rejected)), problems, complete)


def content(*names: str, port: int = 80) -> FileContent:
    return FileContent({ref(name): obj(name, port) for name in names})


BROKEN = unreadable("a.yaml", Reason.INVALID_FILE, "It is broken.")
STAYS = " Its last valid content stays in use."


class TestEffective:
    def test_a_valid_file_has_the_objects_that_it_defines(self) -> None:
        assert effective(content("a", "b"), manifest("b", "c")) == content("b", "c")

    def test_a_broken_file_keeps_everything(self) -> None:
        after = effective(content("a"), BROKEN)
        assert after.objects == content("a").objects
        assert [problem.message for problem in after.problems] == [f"It is broken.{STAYS}"]

    def test_a_file_that_was_never_valid_has_no_content_that_stays(self) -> None:
        assert effective(FileContent(), BROKEN) == FileContent(problems=BROKEN.problems)

    def test_the_problem_of_one_object_does_not_mention_the_file(self) -> None:
        read = manifest("b", rejected="a")
        assert effective(content("a"), read).problems == read.problems

    def test_a_rejected_object_keeps_its_last_valid_version(self) -> None:
        after = effective(content("a", "b", port=1), manifest("b", port=2, rejected="a"))
        assert after.objects == {ref("a"): obj("a", 1), ref("b"): obj("b", 2)}

    def test_an_object_that_was_never_valid_does_not_exist(self) -> None:
        assert effective(FileContent(), manifest(rejected="a")).objects == {}

    def test_a_document_without_a_name_may_be_any_missing_object(self) -> None:
        after = effective(content("a", "b", port=1), manifest("b", port=2, complete=False))
        assert after.objects == {ref("a"): obj("a", 1), ref("b"): obj("b", 2)}

    def test_a_changed_object_is_not_removed(self) -> None:
        assert removes_objects(content("a", "b"), content("a"))
        assert not removes_objects(content("a"), content("a", "b", port=2))


class TestMerge:
    def test_the_first_path_is_used_and_the_other_file_has_a_problem(self) -> None:
        view = merge({"b.yaml": content("a", port=2), "a.yaml": content("a", port=1)})
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
        before = merge({"a": content("x", "y"), "b": effective(FileContent(), BROKEN)})
        after = merge({"a": content("y", "z")})
        assert changes(before, after) == [Delete(ref("x")), Upsert(obj("z")), Report("b", ())]
        assert changes(after, after) == []


class TestFileStates:
    def test_the_first_content_is_accepted_at_once(self) -> None:
        assert FileStates(1.0).observe({"a": manifest("x")}, now=0.0) == [Upsert(obj("x"))]

    def test_the_objects_of_a_missing_file_are_deleted_after_a_moment(self) -> None:
        states = FileStates(1.0)
        states.observe({"a": manifest("x")}, now=0.0)
        assert states.observe({}, now=5.0) == []
        assert states.due == 6.0
        assert states.observe({}, now=5.9) == []
        assert states.observe({}, now=6.0) == [Delete(ref("x"))]
        assert states.due is None

    def test_a_file_that_reappears_in_time_deletes_nothing(self) -> None:
        states = FileStates(1.0)
        states.observe({"a": manifest("x")}, now=0.0)
        states.observe({}, now=5.0)
        assert states.observe({"a": manifest("x")}, now=5.5) == []
        assert states.due is None
        assert states.observe({}, now=9.0) == []

    def test_different_content_that_removes_objects_restarts_the_wait(self) -> None:
        states = FileStates(1.0)
        states.observe({"a": manifest("x", "y")}, now=0.0)
        assert states.observe({"a": manifest()}, now=1.0) == []
        assert states.observe({"a": manifest("x")}, now=1.9) == []
        assert states.observe({"a": manifest("x")}, now=2.1) == []
        assert states.observe({"a": manifest("x")}, now=2.9) == [Delete(ref("y"))]

    def test_an_edit_that_removes_nothing_is_accepted_at_once(self) -> None:
        states = FileStates(1.0)
        states.observe({"a": manifest("x", port=1)}, now=0.0)
        assert states.observe({"a": manifest("x", port=2)}, now=0.1) == [Upsert(obj("x", 2))]

    def test_an_unsettled_file_delays_no_other(self) -> None:
        states = FileStates(1.0)
        states.observe({"a": manifest("x")}, now=0.0)
        assert states.observe({"b": manifest("y")}, now=0.1) == [Upsert(obj("y"))]

    def test_a_renamed_file_deletes_nothing(self) -> None:
        states = FileStates(1.0)
        states.observe({"a": manifest("x")}, now=0.0)
        moved = states.observe({"b": manifest("x")}, now=0.1) + states.observe({"b": manifest("x")}, now=1.1)
        assert {type(change) for change in moved} == {Report}
        assert moved[-1] == Report("b", ())

    def test_a_broken_file_is_reported_until_it_is_valid_again(self) -> None:
        states = FileStates(1.0)
        states.observe({"a": manifest("x")}, now=0.0)
        (report,) = states.observe({"a": BROKEN}, now=1.0)
        assert isinstance(report, Report)
        assert [problem.message for problem in report.problems] == [f"It is broken.{STAYS}"]
        assert states.observe({"a": BROKEN}, now=9.0) == []
        assert states.observe({"a": manifest("x")}, now=10.0) == [Report("a", ())]


Files = Mapping[str, Manifest]

GOOD = st.builds(
    lambda names, port: manifest(*sorted(names), port=port),
    st.sets(st.sampled_from("xyz")),
    st.integers(1, 3),
)
FILES = st.dictionaries(st.sampled_from(["a", "b", "c"]), GOOD)
READINGS = st.lists(FILES | FILES.map(lambda files: dict.fromkeys(files, BROKEN)), max_size=6)


def after(history: list[Files], settle_for: float) -> tuple[World, FileStates]:
    """The world after a history of files, each state of which lasts until it is accepted."""
    states, world, now = FileStates(settle_for), World(), 0.0
    for readings in history:
        for _ in range(2):
            found: list[Change] = states.observe(readings, now)
            world, _changed = world.apply(found)
            now += settle_for
    return world, states


@given(READINGS, FILES)
def test_valid_files_give_the_same_world_after_any_history(history: list[Files], last: Files) -> None:
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
def test_breaking_every_file_deletes_nothing(files: Files) -> None:
    good, _ = after([files], 1.0)
    broken, _ = after([files, dict.fromkeys(files, BROKEN)], 1.0)
    assert broken.namespaces == good.namespaces
