"""The bounds of a Namespace and of the installation hold for every mirrored request."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support import objects
from tests.support.backends import Recorder
from tests.support.objects import Document
from tests.support.rig import Rig, rig

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

POLICY = """\
set-headers: x-from=installation
paths-allowed: /api,/public/
timeout-max: 5s
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    """A fleet of an installation with bounds."""
    directory: Path = tmp_path_factory.mktemp("guarded")
    (directory / "policy.yaml").write_text(POLICY)
    async with rig(directory, extra=[f"--policy={directory / 'policy.yaml'}"]) as running:
        yield running


def namespace(**annotations: str) -> Document:
    found = objects.namespace()
    found["metadata"]["annotations"] = {
        f"xds-shadow.io/{name.replace('_', '-')}": value for name, value in annotations.items()
    }
    return found


async def given(fleet: Rig, canary: Recorder, state: str, of: Document, **annotations: str) -> None:
    """A Namespace with its bounds, and a canary in it, both at once."""
    base = [of, objects.service()]
    fleet.write("base.yaml", base)
    await fleet.until_no_shadow()
    pod = objects.pod("canary-1", canary.address)
    fleet.write("base.yaml", [*base, objects.canary(selects=None, **annotations), pod])
    await fleet.until_shadow(state)


async def test_every_mirrored_request_is_within_the_bounds(fleet: Rig, canary: Recorder) -> None:
    rails = namespace(methods_allowed="GET,HEAD", remove_headers="cookie", max_body_max="1Ki")
    await given(fleet, canary, "Active", rails)
    for envoy in fleet.envoys:
        rejected = [
            await fleet.send(envoy, method="POST", path="/api"),
            await fleet.send(envoy, path="/admin"),
            await fleet.send(envoy, path="/apis"),
            await fleet.send(envoy, path="/api", body=b"x" * 1025),
        ]
        sent = await fleet.send(envoy, path="/api/v1", headers={"Cookie": "session=1"}, body=b"x")
        await canary.until_seen(sent.test_id)
        [mirrored] = canary.of(sent.test_id)
        assert {answer.backend for answer in (*rejected, sent)} == {"stable"}
        assert [canary.of(answer.test_id) for answer in rejected] == [[], [], [], []]
        assert (mirrored.headers["x-from"], mirrored.headers.get("cookie")) == ("installation", None)


async def test_what_is_required_holds_whatever_a_shadow_says(fleet: Rig, canary: Recorder) -> None:
    rails = namespace(
        remove_headers_required="cookie,proxy-authorization",
        exclude_paths_required="/api/pay",
        redact_required="json:/pin",
    )
    asked = {"remove_headers": "x-none", "exclude_paths": "/api/other", "redact": "json:/card"}
    await given(fleet, canary, "Active", rails, **asked)
    for envoy in fleet.envoys:
        excluded = [await fleet.send(envoy, path=path) for path in ("/api/pay/1", "/api/other")]
        sent = await fleet.send(
            envoy,
            method="POST",
            path="/api",
            headers={
                "Content-Type": "application/json",
                "Cookie": "session=1",
                "Proxy-Authorization": "Basic 1",
                "x-none": "1",
            },
            body=b'{"pin": "1234", "card": "5678", "name": "a"}',
        )
        await canary.until_seen(sent.test_id)
        [mirrored] = canary.of(sent.test_id)
        assert {"cookie", "proxy-authorization", "x-none"}.isdisjoint(mirrored.headers)
        assert json.loads(mirrored.body) == {"pin": "***", "card": "***", "name": "a"}
        assert [canary.of(answer.test_id) for answer in excluded] == [[], []]


async def test_a_shadow_that_asks_for_more_gets_nothing(fleet: Rig, canary: Recorder) -> None:
    for rails, asked in (
        (namespace(percent_max="10"), {"percent": "11"}),
        (namespace(), {"timeout": "6s"}),
        (namespace(remove_headers_required="x-user"), {"set-headers": "x-stolen=%REQ(x-user)%"}),
        (namespace(endpoints_from_allowed="none"), {"endpoints-from": "service/myapp"}),
        (namespace(until_max="2100-01-01T00:00:00Z"), {"until": "2101-01-01T00:00:00Z"}),
        (namespace(), {"paths": "/api,/admin"}),
    ):
        await given(fleet, canary, "Rejected", rails, **asked)
        shadow = await fleet.shadow()
        assert shadow
        assert shadow.reason == "NotAllowed"
        for envoy in fleet.envoys:
            answer = await fleet.send(envoy, path="/api")
            assert (answer.status, answer.backend) == (200, "stable")
            assert canary.of(answer.test_id) == []


async def test_bounds_that_cannot_be_read_admit_no_shadow(fleet: Rig, canary: Recorder) -> None:
    await given(fleet, canary, "Rejected", namespace(methods_alowed="GET"))
    shadow = await fleet.shadow()
    assert shadow
    assert shadow.message.startswith(
        "Annotation xds-shadow.io/methods-alowed of Namespace staging is not known"
    )
