"""The oldest Envoy that is tested mirrors as the newest does: it rejects VHDS over ADS, and gets none."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.envoy.scenarios.stage import BINARIES
from tests.support import objects
from tests.support.backends import recorder
from tests.support.rig import Rig, rig

pytestmark = pytest.mark.envoy

OLDEST = "1.36"


@pytest.fixture
async def older(tmp_path: Path) -> AsyncIterator[Rig]:
    """A fleet of the oldest Envoys, one in either variant."""
    async with rig(tmp_path, binary=BINARIES[OLDEST]) as fleet:
        yield fleet


async def test_an_older_envoy_mirrors_too(older: Rig) -> None:
    async with recorder("stable") as stable, recorder("canary") as canary:
        older.write("base.yaml", [objects.namespace(), objects.service()])
        older.write("addresses.yaml", objects.endpoint_slice("myapp", [("stable-1", stable.address)]))
        older.write("canary.yaml", [objects.canary(), objects.pod("canary-1", canary.address)])
        await older.until_shadow("Active")
        for envoy in older.envoys:
            answer = await older.send(envoy)
            assert (answer.status, answer.backend) == (200, "stable")
            await canary.until_seen(answer.test_id)
            [mirrored] = canary.of(answer.test_id)
            assert (mirrored.host, mirrored.shadow) == ("myapp.staging", "staging/myapp-canary")
            marked = await older.send(envoy, headers={"x-xds-shadow": "elsewhere/app"})
            after = await older.send(envoy)
            await canary.until_seen(after.test_id)
            assert not canary.of(marked.test_id)
        status = await older.status()
        assert {node.build for node in status.nodes} == {f"envoy {OLDEST}.4"}


EVERYTHING = {
    "methods": "POST,PUT",
    "paths": "/api",
    "exclude_paths": "/api/admin",
    "headers": "x-team,x-env=test",
    "remove_headers": "x-tracking-id",
    "new_trace": "true",
    "compare": "bodies",
    "baseline": "true",
    "set_headers": "x-shadowed-path=%REQ(:path)%,x-from=%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%,"
    "x-id=%STREAM_ID%,x-host=%REQ(:authority)%,x-over=%PROTOCOL%,x-for=%REQ(x-forwarded-for)%,"
    "x-length=%REQ(content-length)%",
    "host": "canary.example",
    "rewrite_path_prefix": "/api=/v2",
    "redact": "json:/card/number",
    "credential_from_secret": "token/authorization",
    "timeout": "5s",
    "max_concurrent": "10",
    "max_rps": "100",
    "max_body": "16Ki",
}


async def test_every_annotation_works_on_an_older_envoy_too(older: Rig) -> None:
    async with recorder("stable") as stable, recorder("canary") as canary:
        older.write("base.yaml", [objects.namespace(), objects.service()])
        older.write("addresses.yaml", objects.endpoint_slice("myapp", [("stable-1", stable.address)]))
        pod = objects.pod("canary-1", canary.address)
        token = objects.secret("token", authorization="Bearer of-the-canary")
        older.write("canary.yaml", [objects.canary(selects=None, **EVERYTHING), pod, token])
        await older.until_shadow("Active")
        sent = {
            "Content-Type": "application/json",
            "x-team": "shop",
            "x-env": "test",
            "x-tracking-id": "1",
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "Authorization": "Bearer of-the-user",
        }
        for envoy in older.envoys:
            answer = await older.send(
                envoy,
                method="POST",
                path="/api/pay?a=b",
                headers=sent,
                body=b'{"card": {"number": "4111222"}}',
            )
            others = [await older.send(envoy, path="/api/pay", headers=sent), await older.send(envoy)]
            assert {each.backend for each in (answer, *others)} == {"stable"}
            await canary.until_seen(answer.test_id)
            [live], [mirrored] = stable.of(answer.test_id), canary.of(answer.test_id)
            assert (mirrored.method, mirrored.path, mirrored.host) == (
                "POST",
                "/v2/pay?a=b",
                "canary.example",
            )
            assert mirrored.body == b'{"card": {"number": "***"}}'
            assert mirrored.headers["authorization"] == "Bearer of-the-canary"
            assert mirrored.headers["x-shadowed-path"] == "/api/pay?a=b"
            assert mirrored.headers.items() >= {
                ("x-from", "127.0.0.1"),
                ("x-id", live.headers["x-request-id"]),
                ("x-host", "myapp.staging"),
                ("x-over", "HTTP/1.1"),
                ("x-length", live.headers["content-length"]),
                ("x-for", live.headers["x-forwarded-for"]),
            }
            assert live.headers["traceparent"] == sent["traceparent"]
            assert not {"x-tracking-id", "traceparent"} & {*mirrored.headers}
            assert "x-envoy-internal" not in mirrored.headers
            assert mirrored.headers["x-forwarded-for"] == live.headers["x-forwarded-for"]
            assert [canary.of(each.test_id) for each in others] == [[], []]
