"""Three canaries with different conditions on one Service: each request is mirrored to the matching ones."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import pytest
import pytest_asyncio

from tests.envoy.policy.conftest import Annotate
from tests.support import objects
from tests.support.backends import Recorder, recorder
from tests.support.rig import Answer, Rig
from tests.support.waiting import eventually

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

REQUESTS = 2000
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")
PATHS = (
    "/",
    "/api",
    "/api/",
    "/api/orders?page=/pay",
    "/apis",
    "/api/private",
    "/api/private/key",
    "/api/privates",
    "/static",
    "/static/logo.png",
    "/pay",
    "/pay/now",
    "/payment",
)
TENANTS = (None, "blue", "red", "Blue")
DEBUG = (None, "1", "")


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def steps(self) -> list[str]:
        return self.path.partition("?")[0].split("/")[1:]


def browsing(request: Request) -> bool:
    """``methods: GET,HEAD``, ``paths: /api,/static/``, ``exclude-paths: /api/private``"""
    under_api = request.steps[0] == "api" and request.steps[1:2] != ["private"]
    under_static = request.steps[0] == "static" and len(request.steps) > 1
    return request.method in ("GET", "HEAD") and (under_api or under_static)


def blue_orders(request: Request) -> bool:
    """``methods: POST,PUT``, ``headers: x-tenant=blue``"""
    return request.method in ("POST", "PUT") and request.headers.get("x-tenant") == "blue"


def debugged_secrets(request: Request) -> bool:
    """``paths: /api/private,/pay``, ``headers: x-debug``"""
    under = request.steps[:2] == ["api", "private"] or request.steps[0] == "pay"
    return under and "x-debug" in request.headers


TABLE = {
    "browsing": (
        browsing,
        {"methods": "GET,HEAD", "paths": "/api,/static/", "exclude_paths": "/api/private"},
    ),
    "blue-orders": (blue_orders, {"methods": "POST,PUT", "headers": "x-tenant=blue"}),
    "debugged-secrets": (debugged_secrets, {"paths": "/api/private,/pay", "headers": "x-debug"}),
}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def canaries(fleet: Rig) -> AsyncIterator[dict[str, Recorder]]:
    async with contextlib.AsyncExitStack() as stack:
        found = {name: await stack.enter_async_context(recorder(name)) for name in TABLE}
        documents = []
        for name, (_, annotations) in TABLE.items():
            documents += [
                objects.canary(name, selects=None, **annotations),
                objects.pod(name, found[name].address, labels={"app": name}),
            ]
        fleet.write("canary.yaml", documents)
        for name in TABLE:
            await fleet.until_shadow("Active", deployment=name)
        yield found


def drawn(chance: random.Random) -> Request:
    headers = {"x-tenant": chance.choice(TENANTS), "x-debug": chance.choice(DEBUG)}
    given = {name: value for name, value in headers.items() if value is not None}
    return Request(chance.choice(METHODS), chance.choice(PATHS), given)


@pytest.mark.parametrize("index", [0, 1], ids=["delta", "sotw"])
async def test_random_requests_are_mirrored_to_exactly_the_matching_canaries(
    fleet: Rig, stable: Recorder, canaries: dict[str, Recorder], index: int
) -> None:
    chance = random.Random(index)  # noqa: S311 - reproducible
    wanted: dict[str, Request] = {}
    places = asyncio.Semaphore(16)

    async def one(request: Request) -> None:
        async with places:
            answer = await send(fleet, index, request)
        assert (answer.status, answer.backend) == (200, "stable")
        wanted[answer.test_id] = request

    await asyncio.gather(*(one(drawn(chance)) for _ in range(REQUESTS)))
    expected = {
        name: sorted(test_id for test_id, request in wanted.items() if wants(request))
        for name, (wants, _) in TABLE.items()
    }
    assert all(len(found) > REQUESTS / 50 for found in expected.values()), "every canary has something to see"

    def arrived() -> dict[str, list[str]]:
        return {
            name: sorted(a.test_id for a in canary.arrivals if a.test_id in wanted)
            for name, canary in canaries.items()
        }

    await eventually(lambda: arrived() == expected, what="the mirrored requests")
    # Whatever else was sent has arrived before these.
    fences = [
        Request("GET", "/api"),
        Request("PUT", "/", {"x-tenant": "blue"}),
        Request("GET", "/pay", {"x-debug": "1"}),
    ]
    for fence, canary in zip(fences, canaries.values(), strict=True):
        await canary.until_seen((await send(fleet, index, fence)).test_id)
    assert arrived() == expected
    assert sorted(a.test_id for a in stable.arrivals if a.test_id in wanted) == sorted(wanted)


async def send(fleet: Rig, index: int, request: Request) -> Answer:
    return await fleet.send(
        fleet.envoys[index], method=request.method, path=request.path, headers=dict(request.headers)
    )


async def test_a_grpc_method_is_a_path(fleet: Rig, canary: Recorder, annotate: Annotate) -> None:
    await annotate(paths="/shop.Orders/List,/shop.Stock")
    wanted = {
        "/shop.Orders/List": True,
        "/shop.Orders/Create": False,
        "/shop.Stock/Get": True,
        "/shop.Stocks/Get": False,
    }
    for envoy in fleet.envoys:
        sent = {path: await fleet.send(envoy, method="POST", path=path, body=b"") for path in wanted}
        for path in (path for path, mirrored in wanted.items() if mirrored):
            await canary.until_seen(sent[path].test_id)
        assert {path: bool(canary.of(answer.test_id)) for path, answer in sent.items()} == wanted


async def test_correlated_samples_are_of_the_same_requests(
    fleet: Rig, annotate: Annotate, canary: Recorder
) -> None:
    async with recorder("second") as second:
        other = objects.canary("second", percent="60", sample="correlated")
        pod = objects.pod("second-1", second.address, labels={"app": "second"})
        await annotate(percent="30", sample="correlated", others=(other, pod))
        await fleet.until_shadow("Active", deployment="second")
        for envoy in fleet.envoys:
            answers = {answer.test_id for answer in await fleet.send_many(envoy, 400)}
            # Independent ones would have 72 of the 400 in common, and 48 the first one alone.
            await eventually(
                partial(_part_of, canary, second, answers), what="the smaller sample in the larger"
            )


def _part_of(smaller: Recorder, larger: Recorder, sent: set[str]) -> bool:
    one, other = ({arrival.test_id for arrival in each.arrivals} & sent for each in (smaller, larger))
    return len(one) > len(sent) / 10 and one < other
