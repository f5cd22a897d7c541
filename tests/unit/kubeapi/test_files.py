"""Objects as files: complete, readable by people, and never forgotten."""

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.unit.kubeapi.client import SERVICES, client
from tests.unit.kubeapi.objects import config_map, namespace, secret, service
from xds_server.base.errors import XdsShadowError
from xds_server.local.kubeapi.doc import Doc
from xds_server.local.kubeapi.errors import StatusError
from xds_server.local.kubeapi.files import Directory
from xds_server.local.kubeapi.history import Key
from xds_server.local.kubeapi.resources import CLUSTERROLES, CONFIGMAPS, SECRETS, Resource
from xds_server.local.kubeapi.resources import SERVICES as SERVICES_RESOURCE
from xds_server.local.kubeapi.store import Store


def with_uid(doc: Doc) -> Doc:
    return doc | {"metadata": doc["metadata"] | {"uid": f"uid-of-{doc['metadata']['name']}"}}


def everything(store: Store, *resources: Resource) -> list[Doc]:
    return [entry.doc for resource in resources for entry in store.list(resource).entries]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def web(data: Path) -> Path:
    """The file of a Service."""
    with Directory(data) as directory:
        directory.open_store().create(SERVICES_RESOURCE, with_uid(service("web", "shop")))
    return data / "services" / "shop" / "web.yaml"


class TestWriting:
    def test_an_object_is_a_file_of_yaml(self, web: Path) -> None:
        doc = yaml.safe_load(web.read_text())
        assert doc == with_uid(service("web", "shop", resourceVersion="2"))
        assert list(doc) == ["apiVersion", "kind", "metadata", "spec"]
        assert sorted(path.name for path in web.parent.iterdir()) == ["web.yaml"]

    def test_they_are_the_owners_alone(self, data: Path) -> None:
        with Directory(data) as directory:
            directory.open_store().create(SECRETS, with_uid(secret("s", data={"a": "Yg=="})))
        modes = {
            path.relative_to(data).as_posix(): stat.S_IMODE(path.stat().st_mode) for path in data.rglob("*")
        }
        assert modes["secrets/default/s.yaml"] == 0o600
        assert modes["secrets"] & 0o077 == 0 or modes["secrets/default"] & 0o077 == 0
        assert stat.S_IMODE(data.stat().st_mode) == 0o700

    def test_a_change_replaces_the_file(self, data: Path, web: Path) -> None:
        with Directory(data) as directory:
            store = directory.open_store()
            store.update(SERVICES_RESOURCE, with_uid(service("web", "shop", labels={"v": "2"})))
        assert yaml.safe_load(web.read_text())["metadata"]["labels"] == {"v": "2"}

    def test_a_deletion_removes_it_and_its_directory(self, data: Path, web: Path) -> None:
        with Directory(data) as directory:
            directory.open_store().delete(SERVICES_RESOURCE, Key("shop", "web"))
        assert not web.parent.exists()

    def test_objects_without_a_namespace(self, data: Path) -> None:
        with Directory(data) as directory:
            doc: Doc = {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRole",
                "metadata": {"name": "system:reader", "uid": "1"},
            }
            directory.open_store().create(CLUSTERROLES, doc)
        assert (data / "clusterroles.rbac.authorization.k8s.io" / "_" / "system:reader.yaml").is_file()

    def test_names_longer_than_a_files_may_be(self, data: Path) -> None:
        names = [f"{'a' * 252}{last}" for last in "xyz"]
        with Directory(data) as directory:
            store = directory.open_store()
            for name in names:
                store.create(CONFIGMAPS, with_uid(config_map(name)))
            store.delete(CONFIGMAPS, Key("default", names[0]))
        with Directory(data) as directory:
            found = directory.open_store().list(CONFIGMAPS).entries
            assert [entry.key.name for entry in found] == names[1:]

    def test_what_cannot_be_written_did_not_happen(self, data: Path) -> None:
        with Directory(data) as directory:
            store = directory.open_store()
            (data / "services").write_text("in the way")
            with pytest.raises(OSError, match="Not a directory"):
                store.create(SERVICES_RESOURCE, with_uid(service("web")))
            assert everything(store, SERVICES_RESOURCE) == []


class TestReading:
    def test_nothing_is_lost(self, data: Path) -> None:
        with Directory(data) as directory:
            store = directory.open_store()
            shared = {"a": "b"}
            for doc in (service("web", "shop", labels=shared, annotations=shared), service("api", "shop")):
                store.create(SERVICES_RESOURCE, with_uid(doc))
            store.create(CONFIGMAPS, with_uid(config_map("c", text="a\nb\n", number="01", odd="yes\0\u2028")))
            before, version = everything(store, SERVICES_RESOURCE, CONFIGMAPS), store.version
        with Directory(data) as directory:
            store = directory.open_store()
            assert everything(store, SERVICES_RESOURCE, CONFIGMAPS) == before
            assert store.version == version

    @pytest.mark.usefixtures("web")
    def test_versions_never_repeat(self, data: Path) -> None:
        with Directory(data) as directory:
            gone = directory.open_store().delete(SERVICES_RESOURCE, Key("shop", "web"))
        with Directory(data) as directory:
            again = directory.open_store().create(SERVICES_RESOURCE, with_uid(service("web", "shop")))
            assert again.version == gone.version + 1

    @pytest.mark.usefixtures("web")
    def test_the_history_is_gone_but_for_now(self, data: Path) -> None:
        with Directory(data) as directory:
            store = directory.open_store()
            store.create(SERVICES_RESOURCE, with_uid(service("api", "shop")))
        with Directory(data) as directory:
            store = directory.open_store()
            assert store.events_since(SERVICES_RESOURCE, store.version) == []
            with pytest.raises(StatusError) as caught:
                store.events_since(SERVICES_RESOURCE, store.version - 1)
            assert caught.value.code == 410

    def test_what_editors_and_crashes_leave_behind_is_not_read(self, data: Path, web: Path) -> None:
        for name in (".part", "web.yaml~", ".web.yaml.swp", "notes.txt"):
            (web.parent / name).write_text("{")
        with Directory(data) as directory:
            assert len(everything(directory.open_store(), SERVICES_RESOURCE)) == 1

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            (lambda _doc: "{", "did not find expected node content"),
            (lambda _doc: "[]", "is no object"),
            (lambda _doc: "", "is no object"),
            (lambda doc: doc | {"kind": "Pod"}, "kind is 'Pod', not 'Service'"),
            (lambda doc: doc | {"apiVersion": "v2"}, "apiVersion is 'v2', not 'v1'"),
            (
                lambda doc: doc | {"spec": {"ports": {}}},
                "spec.ports: expected an array, got an object",
            ),
            (
                lambda doc: edited(doc, name="api"),
                "metadata.name or metadata.namespace is not that of the file",
            ),
            (
                lambda doc: edited(doc, namespace="x"),
                "metadata.name or metadata.namespace is not that of the file",
            ),
            (lambda doc: edited(doc, namespace=""), "metadata.namespace is missing"),
            (lambda doc: edited(doc, uid=""), "metadata.uid is missing"),
            (
                lambda doc: edited(doc, resourceVersion="new"),
                "metadata.resourceVersion is 'new', not a version",
            ),
        ],
    )
    def test_a_file_that_is_no_object_any_more_is_named(
        self, data: Path, web: Path, change: Callable[[Doc], Doc | str], problem: str
    ) -> None:
        changed = change(yaml.safe_load(web.read_text()))
        web.write_text(changed if isinstance(changed, str) else yaml.safe_dump(changed))
        with Directory(data) as directory, pytest.raises(XdsShadowError) as caught:
            directory.open_store()
        assert str(caught.value).startswith(f"{web}: ")
        assert problem in str(caught.value)

    def test_a_file_that_cannot_be_read_is_named(self, data: Path, web: Path) -> None:
        web.unlink()
        web.mkdir()
        with Directory(data) as directory, pytest.raises(XdsShadowError, match=r"web\.yaml: cannot be read"):
            directory.open_store()

    @pytest.mark.usefixtures("web")
    def test_a_kind_that_is_not_served_is_named(self, data: Path) -> None:
        (data / "services").rename(data / "gateways.example.com")
        with (
            Directory(data) as directory,
            pytest.raises(XdsShadowError, match="are not served here"),
        ):
            directory.open_store()

    @pytest.mark.usefixtures("web")
    def test_a_state_that_is_not_one_is_named(self, data: Path) -> None:
        (data / "state.yaml").write_text("resourceVersion: soon\n")
        with Directory(data) as directory, pytest.raises(XdsShadowError, match="resourceVersion is 'soon'"):
            directory.open_store()


def edited(doc: Doc, **metadata: str) -> Doc:
    return doc | {"metadata": doc["metadata"] | metadata}


class TestLock:
    def test_one_server_at_a_time(self, data: Path) -> None:
        with Directory(data), pytest.raises(XdsShadowError, match="another server uses this directory"):
            Directory(data).__enter__()
        with Directory(data):
            pass

    def test_a_path_that_is_no_directory(self, data: Path) -> None:
        data.write_text("")
        with pytest.raises(XdsShadowError, match="data: cannot be used"):
            Directory(data).__enter__()


async def test_a_server_goes_on_where_another_was_killed(data: Path) -> None:
    """Killed is what it looks like from the files: nothing is written when the server ends."""
    with Directory(data) as directory:
        async with client(directory.open_store()) as kube:
            await kube.create(namespace("shop"))
            before = await kube.create(service("web"))
            await kube.create(service("gone"))
            await kube.send("DELETE", f"{SERVICES}/gone")
            version = (await kube.get(SERVICES)).version
        async with client(directory.open_store()) as kube:
            assert (await kube.get(SERVICES)).version == version
            assert (await kube.get(f"{SERVICES}/web")).doc == before.doc
            async with kube.watch(SERVICES, resourceVersion=version) as stream:
                await kube.create(service("new"))
                assert await stream.names(1) == [("ADDED", "new")]
            old = before.version
            async with kube.watch(SERVICES, resourceVersion=old) as stream:
                assert (await stream.rest())[0][1]["code"] == 410
