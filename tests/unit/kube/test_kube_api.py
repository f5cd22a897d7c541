"""What a scripted server cannot show: pieces of lines, delays, names, kubeconfigs."""

from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.support.recorder import running, started
from tests.unit.kube.api_server import ApiServer, api_server, source
from tests.unit.kube.manifests import namespace, service
from xds_server.base.errors import SourceError
from xds_server.core.decode import DecodeError
from xds_server.core.objects import Kind
from xds_server.core.world import Upsert
from xds_server.kube import api as kube_api
from xds_server.kube.api import _lines
from xds_server.kube.query import Query
from xds_server.kube.reflector import Backoff
from xds_server.kube.source import connect, read_once_kube


class Pieces:
    """Stands for a response body that arrives in these pieces, and breaks off if told to."""

    def __init__(self, pieces: Iterable[bytes], error: Exception | None = None) -> None:
        self._pieces = pieces
        self._error = error

    async def iter_any(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece
        if self._error:
            raise self._error


async def lines(pieces: Iterable[bytes], error: Exception | None = None) -> list[bytes]:
    content = cast("aiohttp.StreamReader", Pieces(pieces, error))
    return [line async for line in _lines(Query(Kind.POD), content)]


@given(st.lists(st.binary(max_size=4).map(lambda data: data.replace(b"x", b"\n"))))
async def test_lines_do_not_depend_on_the_pieces(pieces: list[bytes]) -> None:
    assert await lines(pieces) == b"".join(pieces).split(b"\n")[:-1]


@pytest.mark.parametrize("error", [aiohttp.ClientPayloadError(), TimeoutError(), ConnectionResetError()])
async def test_a_connection_that_breaks_ends_the_lines(error: Exception) -> None:
    assert await lines([b"a\nb", b"c\nd"], error) == [b"a", b"bc"]


class TestBounds:
    """A server, or what is between, that floods costs no memory, and is an answer that cannot be read."""

    @pytest.fixture(autouse=True)
    def small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(kube_api, "_MAX_LINE", 4096)
        monkeypatch.setattr(kube_api, "_MAX_PAGE", 4096)

    async def test_of_a_line(self) -> None:
        taken = 0

        def flood() -> Iterator[bytes]:
            nonlocal taken
            while True:
                taken += 1000
                yield b"x" * 1000

        with pytest.raises(DecodeError, match="an event of more than 4096 bytes"):
            await lines(flood())
        assert taken == 5000
        whole = b"x" * 4000
        assert await lines([whole, b"\n", whole, b"\n"]) == [whole, whole]

    async def test_of_a_line_on_a_watch(self, api: ApiServer) -> None:
        api.put(service("web"))
        followed = source(api)
        async with running(followed) as recorder:
            await api.until_watched("Service")
            api.reject["list", "Service"] = 503
            api.say("Service", b"x" * 5000)
            await recorder.until(lambda: recorder.reasons == {"DecodeFailed"})
            assert (followed.health().outage_s or -1) >= 0
            api.put(service("other"))
            api.reject.clear()
            await recorder.until(lambda: recorder.names(Kind.SERVICE) == {"web", "other"})
            await recorder.until(lambda: recorder.problems == [])

    async def test_of_a_page(self, api: ApiServer) -> None:
        api.put(service("web", annotations={"other.io/blob": "x" * 5000}))
        async with started(source(api)) as recorder:
            await recorder.until(lambda: recorder.reasons == {"DecodeFailed"})
            assert "a page of more than 4096 bytes" in recorder.problems[0].message
            api.put(service("web"))
            await recorder.until(lambda: recorder.syncs == 1)
            await recorder.until(lambda: recorder.problems == [])

    async def test_of_a_rejected_request(self, api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(kube_api, "_MAX_ERROR", 20)
        api.reject["list", "Service"] = 403
        async with started(source(api)) as recorder:
            await recorder.until(lambda: recorder.reasons == {"Forbidden"})
            assert "it says" not in recorder.problems[0].message


def test_delays_grow_up_to_the_cap_and_start_over_after_success() -> None:
    backoff = Backoff(base=1.0, cap=30.0)
    for longest in (1, 2, 4, 8, 16, 30, 30):
        assert longest / 2 <= backoff.next() <= longest
    backoff.reset()
    assert backoff.next() <= 1
    backoff.reset(at_once=True)
    assert backoff.next() == 0
    assert 0.5 <= backoff.next() <= 1


def test_queries_name_their_path_and_their_origin() -> None:
    everywhere = Query(Kind.ENDPOINT_SLICE)
    assert (everywhere.path, everywhere.origin) == (
        "/apis/discovery.k8s.io/v1/endpointslices",
        "kube/EndpointSlice",
    )
    pods = Query(Kind.POD, "staging", labels="app=x")
    assert (pods.path, pods.origin) == ("/api/v1/namespaces/staging/pods", "kube/Pod/staging/app=x")
    one = Query(Kind.NAMESPACE, name="staging")
    assert (one.path, one.origin) == ("/api/v1/namespaces", "kube/Namespace/staging")
    assert one.selectors == [("fieldSelector", "metadata.name=staging")]


def kubeconfig(path: Path, server: str, **user: Any) -> Path:
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "here",
                "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
                "clusters": [{"name": "c", "cluster": {"server": server}}],
                "users": [{"name": "u", "user": user}],
            }
        )
    )
    return path


class TestConnect:
    async def test_with_a_kubeconfig(self, tmp_path: Path) -> None:
        async with api_server() as api:
            api.credential = "from the kubeconfig"
            api.put(namespace("staging"), service("web"))
            path = kubeconfig(tmp_path / "config", api.url, token=api.credential)
            before = path.read_bytes()
            found = await read_once_kube(lambda: connect(path, "here"))
            assert [change.obj.name for change in found if isinstance(change, Upsert)] == ["staging", "web"]
            assert path.read_bytes() == before

    async def test_with_the_kubeconfig_that_kubectl_would_find(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        path = kubeconfig(tmp_path / "config", "http://127.0.0.1:1")
        monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'missing'}:{path}")
        client = await connect()
        assert client.configuration.host == "http://127.0.0.1:1"
        await client.close()  # type: ignore[no-untyped-call]

    async def test_every_watch_may_hold_a_connection(self, tmp_path: Path) -> None:
        client = await connect(kubeconfig(tmp_path / "config", "http://127.0.0.1:1"))
        assert client.rest_client.maxsize == 0
        await client.close()  # type: ignore[no-untyped-call]

    async def test_a_missing_kubeconfig_is_an_error_that_names_it(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match=r"no kubeconfig at .*nowhere"):
            await connect(tmp_path / "nowhere")

    async def test_an_unknown_context_is_an_error_that_names_the_kubeconfig(self, tmp_path: Path) -> None:
        path = kubeconfig(tmp_path / "config", "http://127.0.0.1:1")
        with pytest.raises(SourceError, match=rf"kubeconfig {path}.*elsewhere"):
            await connect(path, "elsewhere")

    @pytest.mark.parametrize("text", ["", "a: [", "[]", "clusters: 7", "text", "\x00"])
    async def test_a_malformed_kubeconfig_is_an_error_that_names_it(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "config"
        path.write_text(text)
        with pytest.raises(SourceError, match=str(path)):
            await connect(path)

    async def test_a_pod_without_a_service_account_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")
        with pytest.raises(SourceError, match="the Pod's service account"):
            await connect()
