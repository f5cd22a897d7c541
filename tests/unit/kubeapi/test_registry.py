"""Writes as a whole: what a verb does to the store."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.unit.kubeapi.objects import config_map, deployment, event, namespace, service
from tests.unit.kubeapi.test_admission import rejected
from xds_server.local.kubeapi.admission import Place
from xds_server.local.kubeapi.doc import Doc, metadata
from xds_server.local.kubeapi.errors import StatusError
from xds_server.local.kubeapi.history import Entry, Key
from xds_server.local.kubeapi.registry import DeleteOptions, Registry, WriteOptions
from xds_server.local.kubeapi.resources import CONFIGMAPS, DEPLOYMENTS, EVENTS, NAMESPACES, SERVICES, of_kind
from xds_server.local.kubeapi.store import Store

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ME = WriteOptions(manager="me")
TRY = WriteOptions(manager="me", dry_run=True)
WAITING = ["example.com/wait"]


class World:
    """A registry, its store, and a clock that is set."""

    def __init__(self) -> None:
        self.now = START
        self.store = Store()
        self.registry = Registry(self.store, now=lambda: self.now)
        self.registry.ensure_namespaces()

    def create(self, doc: Doc, how: WriteOptions = ME) -> Entry:
        return self.registry.create(self.collection(doc), doc, how)

    def label(self, entry: Entry, value: str, how: WriteOptions = ME) -> Entry:
        return self.registry.patch(place(entry), lambda live: with_label(live, value), how)

    @staticmethod
    def collection(doc: Doc) -> Place:
        resource = of_kind(doc["apiVersion"], doc["kind"])
        assert resource is not None
        return Place(resource=resource, namespace=metadata(doc).get("namespace", ""))

    def has(self, entry: Entry) -> bool:
        return self.store.find(entry.resource, entry.key) is not None


def place(entry: Entry) -> Place:
    return Place(resource=entry.resource, namespace=entry.key.namespace, name=entry.key.name)


def with_label(doc: Doc, value: str) -> Doc:
    return doc | {"metadata": doc["metadata"] | {"labels": {"v": value}}}


def without_finalizers(doc: Doc) -> Doc:
    return doc | {"metadata": doc["metadata"] | {"finalizers": []}}


@pytest.fixture
def world() -> World:
    return World()


class TestNamespaces:
    def test_some_are_there_from_the_start(self, world: World) -> None:
        assert [entry.key.name for entry in world.store.list(NAMESPACES).entries] == [
            "default",
            "kube-system",
        ]
        version = world.store.version
        world.registry.ensure_namespaces()
        assert world.store.version == version

    def test_and_stay(self, world: World) -> None:
        message = 'namespaces "default" is forbidden: this namespace may not be deleted'
        with rejected(403, message):
            world.registry.delete(Place(resource=NAMESPACES, name="default"), DeleteOptions())
        assert world.registry.delete_all(NAMESPACES, "", None, dry_run=False) == []

    def test_objects_need_theirs(self, world: World) -> None:
        with rejected(404, 'namespaces "shop" not found'):
            world.create(service("web", "shop"))

    def test_take_what_they_hold_with_them(self, world: World) -> None:
        shop = world.create(namespace("shop"))
        inside = [world.create(service("web", "shop")), world.create(config_map("c", "shop"))]
        outside = world.create(service("web"))
        assert world.registry.delete(place(shop), DeleteOptions())[1]
        assert not any(world.has(entry) for entry in [shop, *inside])
        assert world.has(outside)

    def test_wait_for_what_waits_in_them(self, world: World) -> None:
        shop = world.create(namespace("shop"))
        waiting = world.create(service("web", "shop", finalizers=WAITING))
        other = world.create(service("other", "shop"))
        entry, gone = world.registry.delete(place(shop), DeleteOptions())
        assert not gone
        assert entry.doc["status"]["phase"] == "Terminating"
        assert not world.has(other)
        message = (
            'services "new" is forbidden: unable to create new content in namespace shop because it is being '
            "terminated"
        )
        with rejected(403, message):
            world.create(service("new", "shop"))
        assert not world.registry.delete(place(shop), DeleteOptions())[1]
        world.registry.patch(place(waiting), without_finalizers, ME)
        assert not world.has(waiting)
        assert not world.has(shop)

    def test_with_finalizers_wait_for_their_objects_too(self, world: World) -> None:
        shop = world.create(namespace("shop", finalizers=WAITING))
        waiting = world.create(service("web", "shop", finalizers=WAITING))
        world.registry.delete(place(shop), DeleteOptions())
        world.registry.patch(place(shop), without_finalizers, ME)
        assert world.has(shop)
        world.registry.patch(place(waiting), without_finalizers, ME)
        assert not world.has(shop)


class TestChanging:
    def test_what_changes_nothing_is_no_event(self, world: World) -> None:
        entry = world.create(service("web", labels={"v": "1"}))
        assert world.label(entry, "1") is entry
        assert world.store.version == entry.version
        assert world.label(entry, "2").version == entry.version + 1

    def test_a_dry_run_answers_and_keeps_nothing(self, world: World) -> None:
        entry = world.create(service("web"))
        version = world.store.version
        assert world.label(entry, "2", TRY).doc["metadata"]["labels"] == {"v": "2"}
        assert world.create(service("api"), TRY).doc["spec"]["type"] == "ClusterIP"
        waiting = world.create(service("w", finalizers=WAITING))
        world.registry.delete(place(waiting), DeleteOptions())
        world.registry.patch(place(waiting), without_finalizers, TRY)
        assert world.has(waiting)
        assert world.store.get(SERVICES, entry.key) is entry
        assert world.store.version == version + 2

    def test_a_status_is_written_beside_the_rest(self, world: World) -> None:
        entry = world.create(deployment("web"))

        def report(live: Doc) -> Doc:
            return live | {"status": {"readyReplicas": 1}, "spec": live["spec"] | {"replicas": 9}}

        reported = world.registry.patch(place(entry), report, ME, "status")
        assert (reported.doc["status"], reported.doc["spec"]["replicas"]) == ({"readyReplicas": 1}, 1)
        kept = world.registry.patch(place(entry), report, ME)
        assert (kept.doc["status"], kept.doc["spec"]["replicas"]) == ({"readyReplicas": 1}, 9)
        assert kept.doc["metadata"]["generation"] == 2

    def test_a_scale_is_the_replicas(self, world: World) -> None:
        entry = world.create(deployment("web"))

        def to_three(scale: Doc) -> Doc:
            assert scale["spec"] == {"replicas": 1}
            assert scale["status"] == {"replicas": 0, "selector": "app=web"}
            return scale | {"spec": {"replicas": 3}}

        scaled = world.registry.rescale(place(entry), to_three, ME)
        assert (scaled.doc["spec"]["replicas"], scaled.doc["metadata"]["generation"]) == (3, 2)
        with pytest.raises(StatusError, match="must be greater than or equal to 0"):
            world.registry.rescale(place(entry), lambda scale: scale | {"spec": {"replicas": -1}}, ME)
        with pytest.raises(StatusError, match="expected an integer, got a string"):
            world.registry.rescale(place(entry), lambda scale: scale | {"spec": {"replicas": "3"}}, ME)
        with pytest.raises(StatusError, match="the object has been modified"):
            world.registry.rescale(
                place(entry), lambda scale: scale | {"metadata": {"resourceVersion": str(entry.version)}}, ME
            )

    def test_an_object_that_is_not_there(self, world: World) -> None:
        nobody = Place(resource=DEPLOYMENTS, namespace="default", name="web")
        with rejected(404, 'deployments.apps "web" not found'):
            world.registry.update(nobody, deployment("web"), ME)


class TestDeleting:
    def test_is_at_once_without_finalizers(self, world: World) -> None:
        entry = world.create(service("web"))
        gone, done = world.registry.delete(place(entry), DeleteOptions())
        assert done
        assert gone.doc["metadata"]["uid"] == entry.doc["metadata"]["uid"]
        with rejected(404, 'services "web" not found'):
            world.registry.delete(place(entry), DeleteOptions())

    def test_waits_for_finalizers(self, world: World) -> None:
        entry = world.create(service("web", finalizers=WAITING))
        marked, done = world.registry.delete(place(entry), DeleteOptions())
        assert not done
        assert marked.doc["metadata"]["deletionTimestamp"] == "2026-01-02T03:04:05Z"
        again, done = world.registry.delete(place(entry), DeleteOptions())
        assert (again.version, done) == (marked.version, False)
        last = world.registry.patch(place(entry), without_finalizers, ME)
        assert not world.has(entry)
        assert last.version == world.store.version

    def test_means_one_object(self, world: World) -> None:
        entry = world.create(service("web"))
        for options, what in (
            (DeleteOptions(uid="other"), "UID in precondition: other"),
            (DeleteOptions(version="1"), "ResourceVersion in precondition: 1"),
        ):
            with pytest.raises(StatusError, match=what) as caught:
                world.registry.delete(place(entry), options)
            assert caught.value.code == 409
        uid = entry.doc["metadata"]["uid"]
        assert world.registry.delete(place(entry), DeleteOptions(uid=uid, version=str(entry.version)))[1]

    def test_can_be_tried(self, world: World) -> None:
        entry = world.create(service("web"))
        assert world.registry.delete(place(entry), DeleteOptions(dry_run=True)) == (entry, True)
        assert world.registry.delete_all(SERVICES, "", None, dry_run=True) == [entry]
        assert world.has(entry)

    def test_of_a_collection_is_by_selector(self, world: World) -> None:
        world.create(service("a", labels={"v": "1"}))
        world.create(service("b", labels={"v": "2"}))
        gone = world.registry.delete_all(
            SERVICES, "default", lambda doc: doc["metadata"]["labels"]["v"] == "1", dry_run=False
        )
        assert [entry.key.name for entry in gone] == ["a"]
        assert [entry.key.name for entry in world.store.list(SERVICES).entries] == ["b"]


class TestEvents:
    def test_are_kept_for_a_while_after_they_were_last_written(self, world: World) -> None:
        world.create(event("old"))
        world.create(event("told-again", lastTimestamp="2026-01-02T05:00:00Z"))
        world.now += timedelta(hours=1)
        world.create(event("new"))
        assert world.registry.expire_events(START + timedelta(minutes=30)) == 1
        left = [entry.key.name for entry in world.store.list(EVENTS).entries]
        assert left == ["new", "told-again"]


def test_a_patch_cannot_make_another_object(world: World) -> None:
    world.create(config_map("c"))
    entry = world.store.get(CONFIGMAPS, Key("default", "c"))
    with pytest.raises(StatusError, match="does not match the name on the URL"):
        world.registry.patch(
            place(entry), lambda live: live | {"metadata": live["metadata"] | {"name": "d"}}, ME
        )
