"""A Service with a stable version, and a canary whose annotations a test chooses."""

from collections.abc import Awaitable, Callable

import pytest
import pytest_asyncio

from tests.support import objects
from tests.support.backends import Recorder
from tests.support.objects import Document
from tests.support.rig import Rig
from tests.support.waiting import eventually

Annotate = Callable[..., Awaitable[None]]


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def _routed(fleet: Rig, stable: Recorder) -> None:
    fleet.write("base.yaml", [objects.namespace(), objects.service()])
    fleet.write("addresses.yaml", objects.endpoint_slice("myapp", [("stable-1", stable.address)]))


@pytest.fixture
def annotate(fleet: Rig, canary: Recorder) -> Annotate:
    """Give the canary these annotations, by their short names, and wait until every Envoy has what
    follows."""

    async def done(*, state: str = "Active", others: tuple[Document, ...] = (), **annotations: str) -> None:
        pod = objects.pod("canary-1", canary.address)
        fleet.write("canary.yaml", [objects.canary(selects=None, **annotations), pod, *others])
        wanted = {name.replace("_", "-"): value.strip() for name, value in annotations.items()}

        async def read() -> bool:
            shadow = await fleet.shadow()
            found = {each.name: each.value for each in shadow.settings} if shadow else None
            return found is not None and (state == "Rejected" or found == wanted)

        await eventually(read, what=f"the annotations {wanted}")
        await fleet.until_shadow(state)

    return done
