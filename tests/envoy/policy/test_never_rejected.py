"""Whatever annotations say, no Envoy ever rejects what comes of them."""

import asyncio

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.support import objects
from tests.support.objects import Document
from tests.support.rig import Rig, all_have
from tests.support.waiting import eventually
from xds_server.base.address import Address
from xds_server.core.annotations import NAMES

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

CANARIES = 12
"""In one push; each fourth has a Service of its own, the others share one."""

PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))
HEADERS = (
    "accept",
    "authorization",
    "content-encoding",
    "content-type",
    "cookie",
    "grpc-timeout",
    "via",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-request-id",
    "user-agent",
    "X-Team",
    "x!#$&'+.^_`|~-",
    "host",
    ":path",
    "content-length",
    "x-envoy-internal",
)
name = st.sampled_from(HEADERS) | st.from_regex(r"\A[A-Za-z0-9!#$&'+.^_|~-]{1,20}\Z")
formatter = st.sampled_from(
    (
        "%REQ(x-request-id)%",
        "%REQ(:authority)%",
        "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        "%PROTOCOL%",
        "%START_TIME%",
        "%STREAM_ID%",
        "%HOSTNAME%",
        "%%",
        "%REQ(cookie)%",
        "%ENVIRONMENT(HOME)%",
        "%",
    )
)
words = st.text(PRINTABLE.replace("%", ""), min_size=1, max_size=20)
value = st.lists(words | formatter, min_size=1, max_size=4).map("".join)
path = st.builds(
    lambda parts, last: "/" + "/".join(parts) + last,
    st.lists(st.text("abAB09._~!$&'()+;:@-", min_size=1, max_size=8), max_size=3),
    st.sampled_from(("", "", "", "/", "%20", "=", "?")),
)
anything = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r"), max_size=12)
place = st.one_of(
    anything.map("form:{}".format),
    st.lists(anything.map(lambda step: step.replace("~", "~0").replace("/", "~1")), max_size=4).map(
        lambda steps: "json:/" + "/".join(steps)
    ),
)


def lines(of: st.SearchStrategy[str], most: int = 4) -> st.SearchStrategy[str]:
    return st.lists(of, min_size=1, max_size=most).map("\n".join).map(lambda text: text + "\n")


ONE_OF_EACH: dict[str, st.SearchStrategy[str]] = {
    "percent": st.integers(0, 1_000_000).map(lambda million: f"{million / 10_000:.4f}"),
    "sample": st.sampled_from(("correlated", "independent")),
    "methods": st.lists(st.from_regex(r"\A[A-Z][A-Z0-9-]{0,31}\Z"), min_size=1, max_size=3).map(",".join),
    "paths": lines(path),
    "exclude-paths": lines(path),
    "headers": lines(st.builds("{}={}".format, name, words) | name, 2),
    "remove-headers": lines(name),
    "set-headers": lines(st.builds("{}={}".format, name, value)),
    "host": st.sampled_from(("preserve", "shadow-suffix")) | st.from_regex(r"\A[a-z0-9.:-]{1,20}\Z"),
    "rewrite-path-prefix": lines(st.builds("{}={}".format, path, path), 2),
    "new-trace": st.sampled_from(["true", "false"]),
    "redact": lines(place),
    "credential-from-secret": st.sampled_from(("token/key", "token/other", "gone/key")),
    "timeout": st.integers(1, 700_000).map("{}ms".format),
    # Most of what can be written is more than a Service may take of an Envoy's memory.
    "max-concurrent": (st.integers(1, 30) | st.integers(0, 10_001)).map(str),
    "max-rps": st.integers(0, 1_000_001).map(str),
    "max-body": (st.integers(1, 2**20) | st.integers(0, 2**26 + 1)).map(str),
    "compare": st.sampled_from(("bodies", "none")),
    "baseline": st.sampled_from(("true", "false")),
    "until": st.datetimes().map(lambda time: time.replace(microsecond=0).isoformat() + "Z")
    | st.integers(2100, 9999).map("{}-01-01T00:00:00Z".format),  # so that some are to come
}
# Few at a time, or there is always one among them that is rejected, and nothing comes of the rest.
annotations = st.sets(st.sampled_from(sorted(ONE_OF_EACH)), max_size=4).flatmap(
    lambda names: st.fixed_dictionaries({name: ONE_OF_EACH[name] for name in sorted(names)})
)
# A credential that Envoy has to take whatever it is made of.
credential = st.text(PRINTABLE, min_size=1, max_size=30)


def world(policies: list[dict[str, str]], token: str) -> list[Document]:
    services = sorted({_service(number) for number in range(CANARIES)})
    found: list[Document] = [objects.secret("token", key=token)]
    for service in services:
        found.append(objects.service(service))
        found += objects.endpoint_slice(service, [(f"{service}-1", Address("127.0.0.1", 9))])
    for number, policy in enumerate(policies):
        canary = objects.canary(f"c{number}", shadow_of=_service(number))
        canary["metadata"]["annotations"] = {f"xds-shadow.io/{key}": text for key, text in policy.items()}
        found += [canary, objects.pod(f"c{number}-1", Address("127.0.0.1", 10), labels={"app": f"c{number}"})]
    return found


def _service(number: int) -> str:
    return f"own{number}" if number % 4 == 0 else "shared"


async def rejections(fleet: Rig, version: str) -> list[str]:
    """What the Envoys say of the configuration that comes of the manifests with this mark, once all of them
    have taken or rejected it."""
    rejected: list[str] = []

    async def answered() -> bool:
        status = await fleet.status()
        kinds = [kind for node in status.nodes for kind in node.types]
        rejected[:] = [kind.last_nack.message for kind in kinds if kind.sync == "ERROR"]
        read = any(problem.subject == f"Service staging/{version}" for problem in status.conditions)
        return bool(rejected) or (read and all_have(status))

    await eventually(answered, what="every Envoy to accept or reject the configuration")
    return rejected


async def test_envoy_takes_whatever_comes_of_random_annotations(fleet: Rig) -> None:
    fleet.write("base.yaml", [objects.namespace()])
    loop = asyncio.get_running_loop()
    mark = 0
    active: set[str] = set()

    async def rejected(policies: list[dict[str, str]], token: str) -> list[str]:
        nonlocal mark
        mark += 1
        # A Service that is reported by its name says that this version has been read.
        witness = objects.service(f"v{mark}", ports=[])
        fleet.write("all.yaml", [*world(policies, token), witness])
        found = await rejections(fleet, f"v{mark}")
        status = await fleet.status()
        running = {shadow.name for shadow in status.shadows if shadow.state == "Active"}
        for number, policy in enumerate(policies):
            if f"c{number}" in running:
                active.update(policy)
        return found

    @settings(
        max_examples=60,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(annotations, min_size=CANARIES, max_size=CANARIES), credential)
    def holds(policies: list[dict[str, str]], token: str) -> None:
        assert asyncio.run_coroutine_threadsafe(rejected(policies, token), loop).result() == []

    await asyncio.to_thread(holds)
    # It was about something: every annotation was in effect at some time.
    assert active == set(NAMES) - {"endpoints-from", "paused"}
