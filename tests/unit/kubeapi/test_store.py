"""The store: versions, order, snapshots, history, subscriptions."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.kubeapi.objects import config_map, namespace, service
from xds_server.local.kubeapi.doc import Doc
from xds_server.local.kubeapi.errors import StatusError
from xds_server.local.kubeapi.history import Entry, Key, Step
from xds_server.local.kubeapi.resources import CONFIGMAPS, NAMESPACES, SERVICES
from xds_server.local.kubeapi.store import Page, Store


def names(page: Page) -> list[str]:
    return [entry.key.name for entry in page.entries]


def rejected(call: Callable[[], object]) -> StatusError:
    with pytest.raises(StatusError) as caught:
        call()
    return caught.value


def labelled(entry: Entry, value: str) -> Doc:
    return entry.doc | {"metadata": entry.doc["metadata"] | {"labels": {"v": value}}}


class TestWriting:
    def test_versions_are_one_counter_for_all_kinds(self) -> None:
        store = Store()
        first = store.create(SERVICES, service("a"))
        second = store.create(CONFIGMAPS, config_map("b"))
        third = store.update(SERVICES, labelled(first, "2"))
        assert [entry.version for entry in (first, second, third)] == [2, 3, 4]
        assert third.doc["metadata"]["resourceVersion"] == "4"
        assert store.delete(SERVICES, first.key).version == store.version == 5

    def test_a_name_is_taken_once(self) -> None:
        store = Store()
        store.create(SERVICES, service("a"))
        error = rejected(lambda: store.create(SERVICES, service("a")))
        assert (error.code, error.reason, error.message) == (
            409,
            "AlreadyExists",
            'services "a" already exists',
        )
        store.create(SERVICES, service("a", "elsewhere"))

    def test_without_a_version_the_last_writer_wins(self) -> None:
        store = Store()
        store.create(SERVICES, service("a"))
        assert store.update(SERVICES, service("a", labels={"v": "2"})).version == 3

    def test_a_change_that_cannot_be_persisted_did_not_happen(self) -> None:
        full = False

        def persist(_step: Step) -> None:
            if full:
                raise OSError("disk full")

        store = Store(persist=persist)
        entry = store.create(SERVICES, service("a"))
        seen: list[Step] = []
        store.subscribe(SERVICES, "", seen.append)
        full = True
        calls: list[Callable[[], Entry]] = [
            lambda: store.create(SERVICES, service("b")),
            lambda: store.update(SERVICES, labelled(entry, "2")),
            lambda: store.delete(SERVICES, entry.key),
        ]
        for call in calls:
            with pytest.raises(OSError, match="disk full"):
                call()
        assert names(store.list(SERVICES)) == ["a"]
        assert store.get(SERVICES, entry.key) is entry
        assert store.version == entry.version
        assert seen == []


class TestLists:
    def test_are_sorted_by_namespace_and_name(self) -> None:
        store = Store()
        for doc in (service("b", "y"), service("c", "x"), service("a", "y"), service("a", "x-1")):
            store.create(SERVICES, doc)
        found = [entry.key for entry in store.list(SERVICES).entries]
        assert found == [("x", "c"), ("x-1", "a"), ("y", "a"), ("y", "b")]

    def test_of_a_namespace_hold_no_other(self) -> None:
        store = Store()
        for where in ("x", "x-1", "x0", "w"):
            store.create(SERVICES, service("a", where))
        assert [entry.key.namespace for entry in store.list(SERVICES, namespace="x").entries] == ["x"]

    def test_what_is_left_of_a_selection_is_not_counted(self) -> None:
        store = Store()
        for number in range(5):
            store.create(SERVICES, service(f"s{number}", labels={"odd": str(number % 2)}))
        page = store.list(SERVICES, limit=1, matches=lambda doc: doc["metadata"]["labels"]["odd"] == "1")
        assert (names(page), page.last, page.remaining) == (["s1"], Key("default", "s1"), None)

    def test_of_a_version_that_is_yet_to_come_are_gone(self) -> None:
        """It is of a server that kept its objects in memory, and ended."""
        assert rejected(lambda: Store().list(SERVICES, at=99, after=Key("", "a"))).code == 410

    @given(
        st.lists(st.tuples(st.sampled_from("cud"), st.integers(0, 9)), max_size=40),
        st.lists(st.lists(st.tuples(st.sampled_from("cud"), st.integers(0, 9)), max_size=8), max_size=10),
        st.integers(1, 4),
        st.sampled_from(["", "n1"]),
    )
    def test_the_pages_of_one_list_are_one_state(
        self,
        before: list[tuple[str, int]],
        between: list[list[tuple[str, int]]],
        limit: int,
        where: str,
    ) -> None:
        store = Store()
        write(store, before)
        expected = [entry.doc for entry in store.list(SERVICES, namespace=where).entries]
        page = store.list(SERVICES, namespace=where, limit=limit)
        found = [entry.doc for entry in page.entries]
        while page.last:
            write(store, between.pop() if between else [])
            page = store.list(SERVICES, namespace=where, limit=limit, after=page.last, at=page.version)
            found += [entry.doc for entry in page.entries]
        assert found == expected


def write(store: Store, steps: list[tuple[str, int]]) -> None:
    """Create, update, delete; what cannot be done is left out."""
    for step, number in steps:
        doc = service(f"s{number}", f"n{number % 3}")
        key = Key(f"n{number % 3}", f"s{number}")
        there = store.find(SERVICES, key)
        if step == "c" and not there:
            store.create(SERVICES, doc)
        elif step == "u" and there:
            store.update(SERVICES, labelled(there, str(store.version)))
        elif step == "d" and there:
            store.delete(SERVICES, key)


class TestHistory:
    def test_tells_what_came_after_a_version(self) -> None:
        store = Store()
        entry = store.create(SERVICES, service("a"))
        store.create(CONFIGMAPS, config_map("other"))
        store.update(SERVICES, labelled(entry, "2"))
        store.delete(SERVICES, entry.key)
        steps = store.events_since(SERVICES, entry.version)
        assert [(step.version, step.before is None, step.after is None) for step in steps] == [
            (4, False, False),
            (5, False, True),
        ]
        assert store.events_since(SERVICES, store.version) == []

    def test_is_bounded_for_each_kind(self) -> None:
        store = Store(history=3)
        store.create(NAMESPACES, namespace("quiet"))
        for number in range(10):
            store.create(SERVICES, service(f"s{number}"))
        assert len(store.events_since(SERVICES, store.version - 3)) == 3
        assert rejected(lambda: store.events_since(SERVICES, store.version - 4)).code == 410
        assert len(store.events_since(NAMESPACES, 1)) == 1

    def test_an_object_leaves_as_it_was_at_the_version_of_its_deletion(self) -> None:
        store = Store()
        entry = store.create(SERVICES, service("a"))
        gone = store.delete(SERVICES, entry.key)
        assert gone.doc["metadata"] == entry.doc["metadata"] | {"resourceVersion": "3"}
        (step,) = store.events_since(SERVICES, entry.version)
        assert step.leaving is gone


class TestSubscriptions:
    def test_see_their_namespace_only(self) -> None:
        store = Store()
        seen: dict[str, list[str]] = {"": [], "x": [], "y": []}

        def reader(name: str) -> Callable[[Step], None]:
            return lambda step: seen[name].append(step.key.name)

        ends = [store.subscribe(SERVICES, name, reader(name)) for name in seen]
        store.create(SERVICES, service("a", "x"))
        store.create(SERVICES, service("b", "y"))
        store.create(CONFIGMAPS, config_map("c", "x"))
        assert seen == {"": ["a", "b"], "x": ["a"], "y": ["b"]}
        for end in ends:
            end()
        store.create(SERVICES, service("d", "x"))
        assert seen[""] == ["a", "b"]

    def test_of_kinds_without_namespaces_are_sent_once(self) -> None:
        store = Store()
        seen: list[Step] = []
        store.subscribe(NAMESPACES, "", seen.append)
        store.create(NAMESPACES, namespace("a"))
        assert len(seen) == 1


class TestLoad:
    def test_keeps_versions_and_goes_on_after_them(self) -> None:
        store = Store()
        store.load([service("b", resourceVersion="41"), service("a", resourceVersion="7")])
        assert [entry.version for entry in store.list(SERVICES).entries] == [7, 41]
        assert store.version == 41
        assert store.create(SERVICES, service("c")).version == 42

    def test_gives_versions_to_those_without(self) -> None:
        store = Store()
        store.load([service("a"), service("b", resourceVersion="9")])
        assert store.get(SERVICES, Key("default", "a")).doc["metadata"]["resourceVersion"] == "10"

    def test_remembers_nothing_before(self) -> None:
        store = Store()
        store.load([service("a", resourceVersion="9")], version=20)
        assert store.events_since(SERVICES, 20) == []
        assert rejected(lambda: store.events_since(SERVICES, 19)).code == 410

    def test_knows_its_kinds(self) -> None:
        with pytest.raises(ValueError, match="no such kind: v1 Gateway"):
            Store().load([{"apiVersion": "v1", "kind": "Gateway", "metadata": {"name": "a"}}])
