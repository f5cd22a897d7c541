"""What arrives of a request that passes Envoy is what was sent, but for what is declared."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.envoy.forms.arrival import Arrival, by_form, differences
from tests.envoy.forms.backend import backend
from tests.envoy.forms.client import send
from tests.envoy.forms.doors import DOORS, Door, Seen, walk, world
from tests.envoy.forms.forms import FORMS, GRPC_HOST, Form
from tests.envoy.scenarios.stage import BINARIES
from tests.support.objects import write_documents
from tests.support.own_listener import surroundings
from xds_server.local.demo.control_plane import ControlPlane
from xds_server.xds.stream_events import Variant

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

Way = tuple[Door, str, Variant]
WAYS: list[Way] = [(door, version, variant) for door in DOORS for version in BINARIES for variant in Variant]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sent() -> dict[str, Arrival]:
    """What arrives of each form without an Envoy between."""
    async with backend() as straight:
        answered = {form.name: await send(form.request, straight.address) for form in FORMS}
        arrived = by_form(straight.arrivals)
    assert {name for name, status in answered.items() if status not in (101, 200)} == set()
    assert {name: len(arrivals) for name, arrivals in arrived.items()} == dict.fromkeys(answered, 1)
    return {name: arrivals[0] for name, arrivals in arrived.items()}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def seen(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[Way, Seen]]:
    """What became of all forms behind each door, of each version and variant."""
    directory: Path = tmp_path_factory.mktemp("forms")
    (directory / "manifests").mkdir()
    async with surroundings(directory) as around, backend() as stable, backend() as canary:
        write_documents(directory / "manifests" / "all.yaml", world(stable, canary))
        control_plane = ControlPlane([f"--manifests={directory / 'manifests'}"], directory)
        await control_plane.start()
        try:
            yield {
                way: await walk(*way, control_plane=control_plane, around=around, backends=(stable, canary))
                for way in WAYS
            }
        finally:
            await control_plane.stop()


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way[0].name}, {way[1]}, {way[2]}")
async def test_a_request_arrives_as_it_was_sent(
    form: Form, way: Way, sent: dict[str, Arrival], seen: dict[Way, Seen]
) -> None:
    door, found = way[0], seen[way]
    outcome, before = door.outcome(form), sent[form.name]
    arrives = outcome.status in (101, 200)
    at_the_service = [door.every - {*outcome.without} | {*outcome.differs}] if arrives else []
    canary = "calls-canary" if before.header("host") == GRPC_HOST else "forms-canary"
    mark = f"+ x-xds-shadow: staging/{canary}"
    at_the_canary = (
        [] if outcome.canary is None else [door.every - {*outcome.without} | {*outcome.canary, mark}]
    )
    assert found.answered[form.name] == outcome.status
    assert [differences(before, each) for each in found.service.get(form.name, [])] == at_the_service
    assert [differences(before, each) for each in found.canary.get(form.name, [])] == at_the_canary
