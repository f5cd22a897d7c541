"""What `redact` costs the worker that serves everybody: no body much more than an ordinary one of its size.

The worst are searched for: fragments of JSON and of forms, repeated until the body is as large as it may be.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, Phase, given, seed, settings, target
from hypothesis import strategies as st

from bench.process import cpu_when_idle
from tests.envoy.policy.conftest import Annotate
from tests.envoy.scenarios.stage import BINARIES
from tests.support.rig import Rig, rig
from xds_server.core.policy import MAX_REDACTED
from xds_server.local.demo.envoy import Envoy

# They compare processor times, which a busy machine blurs.
pytestmark = [pytest.mark.envoy, pytest.mark.thorough, pytest.mark.asyncio(loop_scope="module")]

MOST = 3.0
"""Times an ordinary body."""
EXAMPLES = 25
ROUNDS, SENT = 3, 4

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
RULES = ",".join(
    [
        *("json:/items/*/pin", "json:/*/x", "json:/*/*/y", "form:password", "form:user[name]", "form:a b"),
        *(f"json:/*/*/*/*/k{number}" for number in range(26)),
    ]
)


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=[pytest.param(each, marks=[pytest.mark.thorough] if each != "1.40" else []) for each in BINARIES],
)
async def fleet(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Rig]:
    async with rig(tmp_path_factory.mktemp("fleet"), binary=BINARIES[request.param]) as running:
        yield running


def ordinary_json() -> bytes:
    def items(count: int) -> bytes:
        return json.dumps({"items": [item(number) for number in range(count)]}).encode()

    return items(next(count for count in itertools.count(1000, 5) if len(items(count + 5)) > MAX_REDACTED))


def item(number: int) -> dict[str, object]:
    return {
        "id": number,
        "name": f"Item {number} of many",
        "price": number / 100,
        "tags": ["red", "small", "new"],
        "pin": "4711",
        "owner": {"email": f"user{number}@example.com", "since": None, "active": True},
        "url": f"https://example.com/items/{number}?page=1",
    }


def ordinary_form() -> bytes:
    fields = (f"field{number}=some+value%20{number}" for number in itertools.count())
    return filled("", "&".join(itertools.islice(fields, 20_000)), "")


def filled(head: str, unit: str, tail: str) -> bytes:
    """As many units as there is room for, where they are cut at a unit's end."""
    room = MAX_REDACTED - len(head.encode()) - len(tail.encode())
    size = len(unit.encode())
    middle = unit * (room // size) if size < room else unit.encode()[:room].decode()
    return (head + middle + tail).encode()


def numbered(head: str, unit: str, tail: str) -> bytes:
    """As `filled`, and no unit is like another: the ``#`` in it is a number."""
    units: list[str] = []
    size = len(head) + len(tail)
    for number in itertools.count():
        found = unit.replace("#", f"{number:x}")
        size += len(found.encode())
        if size > MAX_REDACTED:
            return (head + "".join(units) + tail).encode()
        units.append(found)
    raise AssertionError


async def cost(fleet: Rig, envoy: Envoy, kind: str, body: bytes) -> float:
    """Processor time of the Envoy by request, in milliseconds: the least of some rounds."""
    headers = {"content-type": kind}
    found = []
    for _ in range(ROUNDS):
        before = await cpu_when_idle(envoy.process.pid)
        for _ in range(SENT):
            await fleet.send(envoy, method="POST", body=body, headers=headers)
        found.append((await cpu_when_idle(envoy.process.pid) - before) / SENT * 1000)
    return min(found)


NESTED = ("[[[[{", "}]]]]")
KNOWN: dict[str, tuple[str, bytes]] = {
    "semicolons": (FORM, filled("", ";", "")),
    "ampersands": (FORM, filled("", "&", "")),
    "equals signs": (FORM, filled("", "=", "")),
    "spaces in names": (FORM, filled("", "+" * 60 + "=&", "")),
    "words in names": (FORM, filled("", "+x" * 35 + "=&", "")),
    "escapes in names": (FORM, filled("", "%41" * 20 + "=&", "")),
    "letters in names": (FORM, filled("", "%C5%BF" * 12 + "=&", "")),
    "letters as they are": (FORM, filled("", "ä" * 45 + "=&", "")),
    "letters as a search found them": (FORM, numbered("", "äpassword==[%zz&#passwordpassword", "")),
    "brackets": (FORM, filled("a", "[a]" * 20 + "=&", "")),
    "dots": (FORM, filled("", "." * 70 + "=&", "")),
    "masked fields": (FORM, filled("", "password=&", "")),
    "names behind semicolons": (FORM, filled("", "a;a=&", "")),
    "numbers": (JSON, filled("[[[[[", "1,", "1]]]]]")),
    "lists": (JSON, filled("[", "[" * 98 + "]" * 98 + ",", "1]")),
    "texts": (JSON, filled("[", '"",', "1]")),
    "spaces": (JSON, filled("[", " \n", "]")),
    "escapes": (JSON, filled('["', "\\n", '"]')),
    "masked values": (JSON, filled('[{"x":1', ',"x":1', "}]")),
    "names": (JSON, numbered(NESTED[0], '"#":1,', '"":1' + NESTED[1])),
    "names with escapes": (JSON, numbered(NESTED[0], '"\\u006b#":1,', '"":1' + NESTED[1])),
    "names with letters": (JSON, numbered(NESTED[0], '"\N{KELVIN SIGN}#":1,', '"":1' + NESTED[1])),
}


async def test_the_worst_that_are_known(fleet: Rig, annotate: Annotate) -> None:
    await annotate(redact=RULES)
    for envoy in fleet.envoys:
        ordinary = await ordinary_costs(fleet, envoy)
        for name, (kind, body) in KNOWN.items():
            assert await cost(fleet, envoy, kind, body) < MOST * ordinary[kind], name


async def ordinary_costs(fleet: Rig, envoy: Envoy) -> dict[str, float]:
    return {
        JSON: await cost(fleet, envoy, JSON, ordinary_json()),
        FORM: await cost(fleet, envoy, FORM, ordinary_form()),
    }


names = st.sampled_from(['"a":', '"k1":', '"x":', '"#":', '"\\u0041#":', '"\\ud83d\\ude00":', '"ä#":'])
values = st.sampled_from(["1", "-0.1e+1", '""', '"\\n"', '"xxxx"', "true", "null", "[]", "{}"])
bit_of_json = names | values | st.sampled_from(["{", "}", "[", "]", ",", " ", "\t", '"'])
bit_of_form = st.sampled_from(
    ["a", "#", "password", "=", "&", ";", "[", "]", ".", "+", "%41", "%C3%A4", "%zz", "ä", "user", "_", "~"]
)
bodies = st.one_of(
    st.builds(
        lambda make, nesting, unit: (JSON, make(nesting[0], unit + ",", "1" + nesting[1])),
        st.sampled_from((filled, numbered)),
        st.sampled_from((("[", "]"), ("[[[[", "]]]]"), ('{"items":[', "]}"))),
        st.lists(bit_of_json, min_size=1, max_size=8).map("".join),
    ),
    st.builds(
        lambda make, nesting, name, value: (JSON, make(nesting[0], f"{name}{value},", '"":1' + nesting[1])),
        st.sampled_from((filled, numbered)),
        st.sampled_from((("{", "}"), ("[{", "}]"), NESTED)),
        names,
        values,
    ),
    st.builds(
        lambda make, unit: (FORM, make("", unit, "")),
        st.sampled_from((filled, numbered)),
        st.lists(bit_of_form, min_size=1, max_size=10).map("".join),
    ),
)


async def test_no_worse_is_found(fleet: Rig, annotate: Annotate) -> None:
    await annotate(redact=RULES)
    loop = asyncio.get_running_loop()
    [envoy, *_] = fleet.envoys
    ordinary = await ordinary_costs(fleet, envoy)

    @seed(13)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.target],
        suppress_health_check=list(HealthCheck),
    )
    @given(bodies)
    def holds(found: tuple[str, bytes]) -> None:
        kind, body = found
        measured = asyncio.run_coroutine_threadsafe(cost(fleet, envoy, kind, body), loop).result()
        target(measured / ordinary[kind], label=kind)
        assert measured < MOST * ordinary[kind], body[:60]

    await asyncio.to_thread(holds)
