"""No annotation ends an Envoy whose router logs mirrored requests. A local reply of a shadow cluster's filter
does, while the headers of a request are decoded: if a test of that fails, Envoy no longer crashes, and
`translate/local_replies.py` may not be needed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from tests.envoy.scenarios.stage import BINARIES
from tests.support import objects
from tests.support.backends import Recorder, recorder
from tests.support.static_envoys import Config, http_filters, rendered, running
from tests.support.waiting import eventually
from xds_server.base.errors import XdsShadowError
from xds_server.core.annotations import OF_SHADOW
from xds_server.local.demo.envoy import Envoy
from xds_server.local.demo.fleet import reserved_ports

pytestmark = pytest.mark.envoy

_EXTENSION: Final = "type.googleapis.com/envoy.extensions."
_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
ALONE: Final = {
    "baseline": "true",
    "compare": "bodies",
    "credential-from-secret": "token/authorization",
    "endpoints-from": "service/other",
    "exclude-paths": "/excluded",
    "headers": "x-team=shop",
    "host": "canary.example",
    "max-body": "16Ki",
    "max-concurrent": "10",
    "max-rps": "1",
    "methods": "GET,POST,HEAD",
    "new-trace": "true",
    "paths": "/",
    "paused": "false",
    "percent": "60",
    "redact": "json:/card/number,form:password",
    "remove-headers": "x-tracking-id,user-agent",
    "rewrite-path-prefix": "/a=/b",
    "sample": "correlated",
    "set-headers": "x-path=%REQ(:path)%,x-from=%DOWNSTREAM_REMOTE_ADDRESS%,x-missing=%REQ(x-none)%",
    "timeout": "5s",
    "until": "2100-01-01T00:00:00Z",
}
"""A value for each annotation."""
LOG: Final = "upstream.log"

TOGETHER: Final = {
    **{name: value for name, value in ALONE.items() if name != "endpoints-from"},
    # The first request is mirrored.
    "percent": "100",
    "max-rps": "4",
}
CASES: Final[Mapping[str, Mapping[str, str]]] = {
    **{name: {name: value} for name, value in ALONE.items()},
    "nothing": {},
    "everything": TOGETHER,
    "limited": {"max-rps": "1", "redact": "json:/a", "rewrite-path-prefix": "/a=/b", "max-body": "16"},
    "no-secret": {"credential-from-secret": "token/authorization"},
    "no-secret-everything": TOGETHER,
}
"""Services by name, and the annotations of their canaries."""

REPLIES: Final[Mapping[str, Config]] = {
    "lua": {
        "@type": f"{_EXTENSION}filters.http.lua.v3.Lua",
        "default_source_code": {
            "inline_string": 'function envoy_on_request(handle) handle:respond({[":status"] = "429"}, "") end'
        },
    },
    "credential injector": {
        "@type": f"{_EXTENSION}filters.http.credential_injector.v3.CredentialInjector",
        "credential": {
            "name": "generic",
            "typed_config": {
                "@type": f"{_EXTENSION}http.injected_credentials.generic.v3.Generic",
                "credential": {"name": "missing"},
            },
        },
    },
}
"""Filters that reply while the headers of a request are decoded."""


@contextlib.asynccontextmanager
async def three_backends() -> AsyncIterator[tuple[Recorder, Recorder, Recorder]]:
    async with recorder("stable") as stable, recorder("canary") as canary, recorder("other") as other:
        yield stable, canary, other


def sds(port: int) -> Config:
    """Where a secret does not come from: nothing listens on the port."""
    services = [{"google_grpc": {"target_uri": f"127.0.0.1:{port}", "stat_prefix": "sds"}}]
    api = {"api_type": "GRPC", "transport_api_version": "V3", "grpc_services": services}
    return {"api_config_source": api, "initial_fetch_timeout": "0.3s", "resource_api_version": "V3"}


def credentials(value: Any) -> Iterator[Config]:
    """Every reference to a secret in a configuration."""
    match value:
        case {"credential": {"name": _} as found} if "typed_config" not in found:
            yield found
        case dict():
            for each in value.values():
                yield from credentials(each)
        case list():
            for each in value:
                yield from credentials(each)


async def configuration(directory: Path, *backends: Recorder) -> Config:
    """What `CASES` give as a static configuration, with a log of the router, for a stable version, a canary,
    and another Service."""
    stable, canary, other = (backend.address for backend in backends)
    documents = [objects.namespace(), objects.secret("token", authorization="Bearer of-the-canary")]
    for name, address in {**dict.fromkeys(CASES, stable), "other": other}.items():
        documents += [objects.service(name), *objects.endpoint_slice(name, [(f"{name}-1", address)])]
    for name, annotations in CASES.items():
        documents.append(objects.canary(f"{name}-canary", shadow_of=name, selects=None, **annotations))
        documents.append(objects.pod(f"{name}-2", canary, labels={"app": f"{name}-canary"}))
    found = await rendered(directory, documents)
    line = {
        "text_format_source": {"inline_string": "%UPSTREAM_CLUSTER% %REQ(x-request-id)% %RESPONSE_CODE%\n"}
    }
    written = {
        "@type": f"{_EXTENSION}access_loggers.file.v3.FileAccessLog",
        "path": str(directory / LOG),
        "log_format": line,
    }
    http_filters(found)[-1]["typed_config"]["upstream_log"] = [{"name": "file", "typed_config": written}]
    return found


async def requests(session: aiohttp.ClientSession, envoy: Envoy, host: str) -> None:
    """Requests of all forms; the stable version responds to each."""
    json, form = {"Content-Type": "application/json"}, {"Content-Type": "application/x-www-form-urlencoded"}
    for method, body, headers in (
        ("GET", None, {}),
        ("HEAD", None, {}),
        ("POST", None, {}),
        ("POST", b'{"card": {"number": "4111"}}', json),
        ("POST", b"password=a", form),
        # Bodies that `redact` cannot read, and that are longer than any `max-body`.
        ("POST", b"text", {"Content-Type": "text/plain"}),
        ("POST", b"x" * 1_500_000, json),
        ("GET", None, {}),
        ("GET", None, {}),
    ):
        url = f"http://127.0.0.1:{envoy.gateway_port}/a"
        sent = {"Host": host, "x-team": "shop", "Authorization": "Basic caller", **headers}
        async with session.request(method, url, data=body, headers=sent) as response:
            assert response.status == 200
    reader, writer = await asyncio.open_connection("127.0.0.1", envoy.gateway_port)
    lines = [f"Host: {host}", "x-team: shop", "Connection: close", "Transfer-Encoding: chunked"]
    empty = "\r\n".join(["POST /a HTTP/1.1", *lines, "", "0", "x-sum: 1", "", ""])
    writer.write(empty.encode())
    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    writer.close()


def test_every_annotation_has_a_value() -> None:
    assert set(ALONE) == set(OF_SHADOW)


@pytest.mark.parametrize("version", BINARIES)
async def test_no_annotation_ends_an_envoy_that_logs_mirrored_requests(tmp_path: Path, version: str) -> None:
    async with three_backends() as backends, aiohttp.ClientSession() as session:
        config = await configuration(tmp_path, *backends)
        shadows = {
            each["name"] for each in config["static_resources"]["clusters"] if "/shadow/" in each["name"]
        }
        assert len(shadows) == len(CASES)
        with reserved_ports(1) as [nobody]:
            for cluster in config["static_resources"]["clusters"]:
                if cluster["name"].startswith("staging/no-secret"):
                    for each in credentials(cluster):
                        each.update(name="missing", sds_config=sds(nobody))
            async with running(config, tmp_path, version) as envoy:
                for name in CASES:
                    await requests(session, envoy, f"{name}.staging")

                async def logged() -> bool:
                    assert envoy.process.pid
                    return shadows <= {
                        line.split(" ")[0] for line in (tmp_path / LOG).read_text().splitlines()
                    }

                await eventually(logged, what="a line for a mirrored request to each canary")
        assert_credentials(backends[1])


def assert_credentials(canary: Recorder) -> None:
    """Mirrored requests of shadows with a credential never have the caller's."""
    found: dict[str, set[str | None]] = {}
    for arrival in canary.arrivals:
        found.setdefault(arrival.shadow or "", set()).add(arrival.headers.get("authorization"))
    assert found["staging/no-secret-canary"] == found["staging/no-secret-everything-canary"] == {None}
    assert found["staging/credential-from-secret-canary"] == {"(hidden)"}  # as `render` writes it
    assert found["staging/nothing-canary"] >= {"Basic caller"}


@pytest.mark.parametrize("reply", REPLIES)
@pytest.mark.parametrize("version", BINARIES)
async def test_a_local_reply_at_the_headers_ends_an_envoy_that_logs_it(
    tmp_path: Path, version: str, reply: str
) -> None:
    async with three_backends() as backends:
        config = await configuration(tmp_path, *backends)
        with reserved_ports(1) as [nobody]:
            for cluster in config["static_resources"]["clusters"]:
                if cluster["name"] == "staging/nothing/http/shadow/nothing-canary":
                    options = cluster["typed_extension_protocol_options"][_OPTIONS]
                    replying = {"name": "reply", "typed_config": REPLIES[reply]}
                    options["http_filters"][:-1] = [replying]
                    for each in credentials(options):
                        each["sds_config"] = sds(nobody)
            async with running(config, tmp_path, version) as envoy:
                _, writer = await asyncio.open_connection("127.0.0.1", envoy.gateway_port)
                writer.write(b"GET / HTTP/1.1\r\nHost: nothing.staging\r\n\r\n")
                with pytest.raises(XdsShadowError, match="ended before"):
                    await envoy.process.until(_never, what="the end of the test", within_s=60)
                writer.close()
                assert "Segmentation fault" in envoy.process.log.read_text()


async def _never() -> bool:
    return False
