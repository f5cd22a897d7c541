"""The containers of `docker-compose.yml`, once for all tests here."""

import secrets
from collections.abc import Iterator

import pytest

from tests.compose.containers import Containers
from tests.compose.engine import NoEngineError, docker_engine
from tests.compose.images import base_images


@pytest.fixture(scope="module")
def containers() -> Iterator[Containers]:
    """Up, healthy, and serving callers; on ports that the engine chose."""
    try:
        with docker_engine() as engine:
            images = base_images(engine)
            started = Containers(engine, images, project=f"xds-shadow-test-{secrets.token_hex(4)}")
            try:
                started.up()
                yield started
            finally:
                started.down()
    except NoEngineError as reason:
        pytest.skip(f"the containers were not tried: {reason}")
