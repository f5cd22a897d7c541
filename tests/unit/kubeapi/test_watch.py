"""Watches: where they begin, what they tell, and how they end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import aiohttp
import pytest

from tests.support.waiting import PATIENCE_S, eventually
from tests.unit.kubeapi.client import METADATA, SERVICES, TABLE, Client, client
from tests.unit.kubeapi.objects import event, namespace, service
from xds_server.local.kubeapi.errors import gone
from xds_server.local.kubeapi.handlers import Settings
from xds_server.local.kubeapi.resources import SERVICES as SERVICES_RESOURCE
from xds_server.local.kubeapi.store import Store
from xds_server.local.kubeapi.views import Whole
from xds_server.local.kubeapi.watch import Watch

WEB = f"{SERVICES}/web"
STREAM = {
    "sendInitialEvents": "true",
    "allowWatchBookmarks": "true",
    "resourceVersionMatch": "NotOlderThan",
}


class TestBeginning:
    @pytest.mark.parametrize("query", [{}, {"resourceVersion": "0"}, {"resourceVersion": ""}])
    async def test_with_what_there_is(self, kube: Client, query: dict[str, str]) -> None:
        await kube.create(service("a"))
        await kube.create(service("b"))
        async with kube.watch(SERVICES, **query) as stream:
            await kube.create(service("c"))
            assert await stream.names(3) == [("ADDED", "a"), ("ADDED", "b"), ("ADDED", "c")]

    async def test_after_a_version(self, kube: Client) -> None:
        await kube.create(service("a"))
        version = (await kube.get(SERVICES)).version
        await kube.create(namespace("elsewhere"))
        await kube.create(service("b"))
        await kube.create(service("c", "elsewhere"))
        await kube.send("DELETE", f"{SERVICES}/a")
        async with kube.watch(SERVICES, resourceVersion=version) as stream:
            assert await stream.names(2) == [("ADDED", "b"), ("DELETED", "a")]
        async with kube.watch("/api/v1/services", resourceVersion=version) as stream:
            assert await stream.names(3) == [("ADDED", "b"), ("ADDED", "c"), ("DELETED", "a")]

    async def test_with_a_streaming_list(self, kube: Client) -> None:
        await kube.create(service("a"))
        async with kube.watch(SERVICES, **STREAM) as stream:
            assert await stream.names(1) == [("ADDED", "a")]
            assert await stream.next() == (
                "BOOKMARK",
                {
                    "kind": "Service",
                    "apiVersion": "v1",
                    "metadata": {
                        "resourceVersion": str(kube.store.version),
                        "creationTimestamp": None,
                        "annotations": {"k8s.io/initial-events-end": "true"},
                    },
                },
            )
            await kube.label(f"{SERVICES}/a", v="2")
            assert await stream.names(1) == [("MODIFIED", "a")]

    async def test_with_nothing_if_that_is_asked(self, kube: Client) -> None:
        await kube.create(service("a"))
        async with kube.watch(SERVICES, **STREAM | {"sendInitialEvents": "false"}) as stream:
            await kube.create(service("b"))
            assert await stream.names(1) == [("ADDED", "b")]

    async def test_at_a_version_that_is_forgotten(self, kube: Client) -> None:
        version = (await kube.create(service("a"))).version
        await kube.create(service("b"))
        kube.store.compact()
        async with kube.watch(SERVICES, resourceVersion=version) as stream:
            ((kind, status),) = await stream.rest()
        assert (kind, status["code"], status["reason"]) == ("ERROR", 410, "Expired")
        assert status["message"].startswith(f"too old resource version: {version}")

    async def test_at_a_version_that_is_forgotten_as_proxies_tell_it(self) -> None:
        async with client(settings=Settings(gone_as_status=True)) as kube:
            kube.store.compact()
            answer = await kube.get(SERVICES, watch="1", resourceVersion="1")
            assert (answer.status, answer.doc["reason"]) == (410, "Expired")
            assert kube.api.watching == []

    async def test_at_a_version_of_a_server_that_is_no_more(self, kube: Client) -> None:
        async with kube.watch(SERVICES, resourceVersion="999") as stream:
            ((kind, status),) = await stream.rest()
        assert (kind, status["code"]) == ("ERROR", 410)

    async def test_a_streaming_list_of_the_future(self, kube: Client) -> None:
        answer = await kube.get(SERVICES, watch="1", resourceVersion="999", **STREAM)
        assert answer.status == 504

    async def test_the_headers_come_at_once(self, kube: Client) -> None:
        async with asyncio.timeout(PATIENCE_S), kube.watch(SERVICES) as stream:
            assert stream.response.headers["Content-Type"] == "application/json"


class TestTelling:
    async def test_objects_come_and_go(self, kube: Client) -> None:
        async with kube.watch(SERVICES) as stream:
            created = await kube.create(service("web"))
            assert await stream.next() == ("ADDED", created.doc)
            changed = await kube.label(WEB, v="2")
            assert await stream.next() == ("MODIFIED", changed.doc)
            await kube.send("DELETE", WEB)
            kind, last = await stream.next()
            assert (kind, last["metadata"]["labels"]) == ("DELETED", {"v": "2"})
            assert last["metadata"]["resourceVersion"] == str(kube.store.version)

    async def test_a_selection_is_entered_and_left(self, kube: Client) -> None:
        async with kube.watch(SERVICES, labelSelector="v=2") as stream:
            await kube.create(service("other", labels={"v": "3"}))
            await kube.create(service("web", labels={"v": "1"}))
            entered = await kube.label(WEB, v="2")
            assert await stream.next() == ("ADDED", entered.doc)
            await kube.label(WEB, w="x")
            assert (await stream.next())[0] == "MODIFIED"
            left = await kube.label(WEB, v="3")
            kind, last = await stream.next()
            assert (kind, last["metadata"]["labels"]) == ("DELETED", {"v": "2", "w": "x"})
            assert last["metadata"]["resourceVersion"] == left.version
            await kube.send("DELETE", WEB)
            await kube.create(service("last", labels={"v": "2"}))
            assert await stream.names(1) == [("ADDED", "last")]

    async def test_one_object(self, kube: Client) -> None:
        async with kube.watch(SERVICES, fieldSelector="metadata.name=web") as stream:
            await kube.create(service("other"))
            await kube.create(service("web"))
            assert await stream.names(1) == [("ADDED", "web")]

    async def test_metadata_alone(self, kube: Client) -> None:
        async with kube.watch(SERVICES, METADATA, **STREAM) as stream:
            assert (await stream.next())[1]["kind"] == "PartialObjectMetadata"
            created = await kube.create(service("web"))
            assert (await stream.next())[1] == {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": created.doc["metadata"],
            }

    async def test_rows_of_a_table_whose_columns_are_sent_once(self, kube: Client) -> None:
        await kube.create(service("a"))
        async with kube.watch(SERVICES, TABLE, **STREAM) as stream:
            kind, first = await stream.next()
            assert (kind, first["kind"], first["rows"][0]["cells"][0]) == ("ADDED", "Table", "a")
            assert first["columnDefinitions"]
            kind, bookmark = await stream.next()
            assert (kind, bookmark["rows"]) == ("BOOKMARK", [])
            assert bookmark["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
            await kube.create(service("b"))
            kind, second = await stream.next()
            assert (kind, second["rows"][0]["cells"][0]) == ("ADDED", "b")
            assert second["columnDefinitions"] == []

    async def test_a_bookmark_now_and_then(self) -> None:
        async with (
            client(settings=Settings(bookmarks_every=0.05)) as kube,
            kube.watch(SERVICES, allowWatchBookmarks="true") as stream,
        ):
            await kube.create(namespace("elsewhere"))
            version = str(kube.store.version)
            kind, obj = await stream.next()
            while obj["metadata"]["resourceVersion"] != version:
                kind, obj = await stream.next()
            assert (kind, (await stream.next())[0]) == ("BOOKMARK", "BOOKMARK")

    async def test_no_bookmark_for_who_does_not_ask(self) -> None:
        async with (
            client(settings=Settings(bookmarks_every=0.01)) as kube,
            kube.watch(SERVICES) as asking_not,
            kube.watch(SERVICES, allowWatchBookmarks="1") as asking,
        ):
            assert (await asking.next())[0] == "BOOKMARK"
            await kube.create(service("web"))
            assert (await asking_not.next())[0] == "ADDED"


class TestEnding:
    async def test_after_the_clients_time_with_a_bookmark(self, kube: Client) -> None:
        async with kube.watch(SERVICES, timeoutSeconds="1", allowWatchBookmarks="true") as stream:
            events = await stream.rest()
        assert [(kind, obj["metadata"]["resourceVersion"]) for kind, obj in events] == [
            ("BOOKMARK", str(kube.store.version))
        ]

    async def test_after_the_servers_time(self) -> None:
        async with client(settings=Settings(watch_for=(0.05, 0.1))) as kube, kube.watch(SERVICES) as stream:
            assert await stream.rest() == []

    async def test_when_its_watches_are_ended(self, kube: Client) -> None:
        async with kube.watch(SERVICES) as stream:
            await kube.create(service("web"))
            assert kube.api.watching == ["services"]
            kube.api.end_watches()
            assert [kind for kind, _ in await stream.rest()] == ["ADDED"]
        await eventually(lambda: kube.api.watching == [])

    async def test_when_the_server_ends(self) -> None:
        async with client() as kube, kube.watch(SERVICES) as stream:
            async with asyncio.timeout(PATIENCE_S):
                await kube.api.__aexit__()
            assert await stream.rest() == []

    async def test_when_the_client_leaves(self, kube: Client) -> None:
        async with kube.watch(SERVICES):
            await eventually(lambda: kube.api.watching == ["services"])
        await eventually(lambda: kube.api.watching == [])
        await kube.create(service("web"))

    async def test_no_more_than_are_served(self) -> None:
        async with client(settings=Settings(watches=1)) as kube, kube.watch(SERVICES):
            answer = await kube.get(SERVICES, watch="1")
            assert (answer.status, answer.doc["reason"]) == (429, "TooManyRequests")
            assert answer.headers["Retry-After"] == "1"

    async def test_a_client_that_takes_nothing_loses_its_watch(self) -> None:
        """It does not read, so the sockets' buffers fill, and then what may wait for it."""
        async with client(settings=Settings(capacity=20)) as kube, unread_watch(kube) as reader:
            await flood(kube, 300)
            reported = await asyncio.wait_for(reader.read(), PATIENCE_S)
            assert reported.count(b'"MODIFIED"') < 300
            assert b'"type":"ERROR"' in reported[-1000:]
            assert b'"code":410' in reported[-1000:]

    async def test_a_client_that_takes_nothing_for_long_loses_its_connection(self) -> None:
        async with client(settings=Settings(stalled=0.1)) as kube, unread_watch(kube):
            await flood(kube, 300)
            await eventually(lambda: kube.api.watching == [])


@asynccontextmanager
async def unread_watch(kube: Client) -> AsyncIterator[asyncio.StreamReader]:
    """A watch of which nothing but the headers is read."""
    reader, writer = await asyncio.open_connection(*kube.api.address, limit=1024)
    request = f"GET {SERVICES}?watch=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    writer.write(request.encode())
    await reader.readuntil(b"\r\n\r\n")
    yield reader
    writer.close()


async def flood(kube: Client, count: int) -> None:
    """More than fits into any buffer."""
    large = {"example.com/large": "x" * 100_000}
    kube.store.create(SERVICES_RESOURCE, service("web"))
    for version in range(count):
        changed = service("web", annotations=large, labels={"v": str(version)})
        kube.store.update(SERVICES_RESOURCE, changed)
        await asyncio.sleep(0)


class TestWaiting:
    """What waits for a client, without one."""

    @staticmethod
    def watch(capacity: int) -> tuple[Store, Watch]:
        store = Store()
        watch = Watch(SERVICES_RESOURCE, Whole(), None, bookmarks=True, capacity=capacity)
        store.subscribe(SERVICES_RESOURCE, "", watch.take)
        return store, watch

    def test_is_bounded(self) -> None:
        store, watch = self.watch(2)
        for name in ("a", "b"):
            store.create(SERVICES_RESOURCE, service(name))
        assert not watch.done
        store.create(SERVICES_RESOURCE, service("c"))
        lines = watch.next_lines()
        assert lines.startswith(b'{"type":"ERROR"')
        assert lines.count(b"\n") == 1
        assert watch.done
        store.create(SERVICES_RESOURCE, service("d"))
        watch.bookmark(9)
        assert watch.next_lines() == b""

    def test_what_there_is_takes_no_room_from_the_news(self) -> None:
        store, watch = self.watch(1)
        for name in ("a", "b", "c"):
            store.create(SERVICES_RESOURCE, service(name))
        store, watch = Store(), Watch(SERVICES_RESOURCE, Whole(), None, bookmarks=False, capacity=1)
        for name in ("a", "b", "c"):
            store.create(SERVICES_RESOURCE, service(name))
        watch.start(store.list(SERVICES_RESOURCE).entries)
        store.subscribe(SERVICES_RESOURCE, "", watch.take)
        store.create(SERVICES_RESOURCE, service("d"))
        assert watch.next_lines().count(b'"type":"ADDED"') == 4

    def test_is_sent_before_the_end(self) -> None:
        store, watch = self.watch(10)
        store.create(SERVICES_RESOURCE, service("a"))
        watch.fail(gone("over"))
        assert not watch.done
        assert [line[:14] for line in watch.next_lines().splitlines()] == [
            b'{"type":"ADDED',
            b'{"type":"ERROR',
        ]
        assert watch.done


async def test_old_events_go() -> None:
    clock = [datetime(2026, 1, 1, tzinfo=UTC)]
    settings = Settings(events_kept_for=0.05)
    async with client(settings=settings, now=lambda: clock[0]) as kube:
        await kube.create(event("e"))
        async with kube.watch("/api/v1/events") as stream:
            assert (await stream.next())[0] == "ADDED"
            clock[0] = datetime(2026, 1, 2, tzinfo=UTC)
            assert (await stream.next())[0] == "DELETED"


async def test_a_broken_connection_is_a_watch_less(kube: Client) -> None:
    async with aiohttp.ClientSession() as session:
        response = await session.get(f"{kube.api.url}{SERVICES}", params={"watch": "1"})
        await eventually(lambda: kube.api.watching == ["services"])
        assert response.connection is not None
        transport = response.connection.transport
        assert isinstance(transport, asyncio.Transport)
        transport.abort()
        await eventually(lambda: kube.api.watching == [])
