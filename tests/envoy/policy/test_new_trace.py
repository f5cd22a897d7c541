"""Mirrored requests without the caller's trace context."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.envoy.policy.conftest import Scene
from tests.envoy.scenarios.stage import BINARIES
from tests.support.rig import Rig, rig

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CONTEXT = {
    "traceparent": PARENT,
    "tracestate": "vendor=opaque",
    "b3": "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1",
    "x-b3-traceid": "80f198ee56343ba864fe8b2a57d3eff7",
    "x-b3-spanid": "e457b5a2e4d86bd1",
    "x-b3-parentspanid": "05e3ac9a4f6e3b90",
    "x-b3-sampled": "1",
    "x-b3-flags": "1",
    "uber-trace-id": "7a1e2c:1b:0:1",
    "x-ot-span-context": "opaque",
    "ot-tracer-traceid": "5b8aa5a2d2c872e8",
    "ot-tracer-spanid": "6b221d5bc9e6496c",
    "ot-tracer-sampled": "true",
    "x-datadog-trace-id": "1",
    "x-datadog-parent-id": "2",
    "x-datadog-sampling-priority": "1",
    "x-datadog-origin": "rum",
    "x-datadog-tags": "_dd.p.dm=-0",
    "x-amzn-trace-id": "Root=1-5759e988-bd862e3fe1be46a994272793",
    "x-cloud-trace-context": "105445aa7843bc8bf206b12000100000/1;o=1",
    "grpc-trace-bin": "AAAAAA==",
    "sw8": "1-YQ==-Yg==-3-Yw==-ZA==-ZQ==-Zg==",
}
KEPT = {"x-request-id": "bb9f4a3e-7d1c-4f0a-9a0e-3d2f8e1c5b77", "baggage": "tenant=a", "x-trace": "mine"}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=BINARIES)
async def fleet(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Rig]:
    async with rig(tmp_path_factory.mktemp("fleet"), binary=BINARIES[request.param]) as running:
        yield running


async def test_the_mirrored_request_has_no_trace_context_of_the_caller(scene: Scene) -> None:
    await scene.annotate(new_trace="true")
    primary, mirrored = await scene.both(headers=CONTEXT | KEPT)
    assert primary.headers.items() >= CONTEXT.items()
    kept = {name: value for name, value in primary.headers.items() if name not in CONTEXT}
    assert mirrored.headers == kept | {"x-xds-shadow": "staging/myapp-canary"}
    assert kept.keys() >= KEPT.keys()


@pytest.mark.parametrize("annotations", [{}, {"new_trace": "false"}], ids=["default", "false"])
async def test_the_trace_context_is_kept_by_default(scene: Scene, annotations: dict[str, str]) -> None:
    await scene.annotate(**annotations)
    _, mirrored = await scene.both(headers=CONTEXT)
    assert mirrored.headers.items() >= CONTEXT.items()


async def test_headers_that_the_policy_sets_stay(scene: Scene) -> None:
    await scene.annotate(new_trace="true", set_headers="b3=0, x-caller-trace=%REQ(traceparent)%")
    _, mirrored = await scene.both(headers=CONTEXT)
    found = {name: value for name, value in mirrored.headers.items() if name in CONTEXT}
    assert (found, mirrored.headers["x-caller-trace"]) == ({"b3": "0"}, PARENT)
