"""`convert`: documents of eight projects, and the lines that come of them.

After a change that is meant: ``UPDATE_GOLDEN=1 pytest tests/unit/convert``, then read the diff.
"""

import os
import re
import shlex
from collections.abc import Iterable, Iterator
from copy import deepcopy
from functools import reduce
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.converted import DOCUMENTS, NAMES, case_of
from xds_server.cli.convert.convert import READERS, convert
from xds_server.cli.convert.form import Output
from xds_server.cli.convert.output import comment
from xds_server.core.policy import parse_policy

UPDATE = bool(os.environ.get("UPDATE_GOLDEN"))
SOME = (
    *("apisix-config", "consul-routes", "contour-include", "emissary-prefix", "flagger-match"),
    *("gateway-grpc", "istio-subsets", "nginx-canary"),
)
"""One of each project, for what costs many conversions."""

Way = tuple[Any, ...]


def converted(text: str) -> list[str]:
    return convert(list(yaml.safe_load_all(text))).lines


@pytest.mark.parametrize("name", NAMES)
def test_the_lines_are_the_recorded_ones(name: str) -> None:
    result = "\n".join(case_of(name).converted.lines) + "\n"
    expected = DOCUMENTS / f"{name}.txt"
    if UPDATE:
        expected.write_text(result)
    assert result == expected.read_text()


def test_every_kind_has_its_documents() -> None:
    kinds = {doc["kind"] for name in NAMES for doc in case_of(name).docs}
    assert {kind for reader in READERS for kind in reader.kinds} <= kinds


@pytest.mark.parametrize("name", NAMES)
def test_what_is_to_be_typed_is_a_policy_that_is_understood(name: str) -> None:
    for line in case_of(name).converted.lines:
        if line and not line.startswith("#"):
            words = shlex.split(line)
            assert words[:2] == ["kubectl", "-n"]
            if words[3:5] == ["annotate", "deployment"]:
                parse_policy(dict(word.split("=", 1) for word in words[6:]))


def places(value: Any, way: Way = ()) -> Iterator[Way]:
    """The way to every value in a document."""
    yield way
    keys: Iterable[Any] = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in keys:
        yield from places(value[key], (*way, key))


def at(docs: Any, way: Way) -> Any:
    return reduce(lambda value, step: value[step], way, docs)


OF_READERS = {(group, kind) for reader in READERS for group in reader.groups for kind in reader.kinds}
FREE = {"labels", "managedFields", "status", "parentRefs", "annotations"}
"""What may hold anything, and is no field of a route: an unknown annotation is another test's."""


def unknown_fields(name: str) -> Iterator[tuple[Way, list[Any]]]:
    """The documents with one more field in one place, for each place that can have one."""
    docs = case_of(name).docs
    for way in places(docs):
        inside = docs[way[0] : way[0] + 1] if way else []
        if not inside or not isinstance(at(docs, way), dict) or FREE.intersection(way):
            continue
        group = str(inside[0]["apiVersion"]).partition("/")[0]
        if (group, inside[0]["kind"]) in OF_READERS:
            changed = deepcopy(docs)
            at(changed, way)["surprise"] = {"exact": "x"}
            yield way, changed


@pytest.mark.parametrize("name", NAMES)
def test_a_document_with_an_unknown_field_is_not_converted_without_naming_it(name: str) -> None:
    """By its own path, or with all of a field that is not carried over; or it is read as what it is, the name
    of one more header or parameter."""
    for way, docs in unknown_fields(name):
        found = convert(docs)
        assert not found.whole or any("surprise" in line for line in found.lines), way
        comments = "\n".join(line for line in found.lines if line.startswith("# "))
        paths = [_path(way[1 : end + 1]) for end in range(1, len(way))] + [_path((*way[1:], "surprise"))]
        said = (
            "not understood" in comments
            or any(f"{path}:" in comments for path in paths[1:])
            or "surprise" in "\n".join(found.lines)
        )
        assert said or not found.running, (way, found.lines)


def _path(way: Way) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in way)
    return text.removeprefix(".")


@pytest.mark.parametrize("name", SOME)
def test_an_unknown_field_of_a_rule_stops_it(name: str) -> None:
    """It may narrow the mirror."""
    docs = deepcopy(case_of(name).docs)
    for doc in docs:
        if doc["kind"] not in ("Service", "Deployment"):
            doc["spec"]["surprise"] = True
    assert convert(docs).running == 0


HOSTILE = "x\nrm -rf ~\r$(reboot)`reboot`;'\"\x1b[0m\u2028"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("output", Output)
def test_nothing_of_a_document_escapes_its_line(name: str, output: Output) -> None:
    def poisoned(value: Any, key: str = "") -> Any:
        match value:
            case dict():
                return {each: poisoned(inner, each) for each, inner in value.items()}
            case list():
                return [poisoned(each) for each in value]
            case str() if key not in ("kind", "apiVersion", "type", "pathType"):
                return value + HOSTILE
            case _:
                return value

    for line in convert([poisoned(doc) for doc in case_of(name).docs], output).lines:
        assert line.isprintable()
        if output is Output.KUBECTL:
            assert line == "" or line.startswith("# ") or shlex.split(line)[:2] == ["kubectl", "-n"]


SHAPES: tuple[Any, ...] = (5, float("nan"), "x", [None], {"a": None})


@pytest.mark.parametrize("name", SOME)
def test_a_document_of_any_shape_is_read_or_named(name: str) -> None:
    pristine = case_of(name).docs
    ways = [way for way in places(pristine) if len(way) > 1]
    for (*before, last), shape in product(ways, SHAPES):
        docs = deepcopy(pristine)
        at(docs, tuple(before))[last] = shape
        assert all(line.isprintable() for line in convert(docs).lines)


def test_other_documents_are_passed_over() -> None:
    assert convert([{"kind": "Service", "apiVersion": "v1"}, {}, {"apiVersion": 5}]).mirrors == 0
    assert converted("apiVersion: example.com/v1\nkind: VirtualService\n") == []


PAGE = (Path(__file__).parents[3] / "docs" / "migration.md").read_text()
SECTIONS = [
    f"## {section}" for section in PAGE.split("\n## ")[1:] if "```yaml" in section and "```sh" in section
]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.split()[1].strip(":"))
def test_the_page_shows_what_is_printed(section: str) -> None:
    [given], [shown] = (re.findall(rf"```{kind}\n(.*?)```", section, re.DOTALL) for kind in ("yaml", "sh"))
    assert converted(given) == shown.splitlines()


def test_the_page_has_a_section_for_each_project() -> None:
    for reader in READERS:
        assert any(section.startswith(f"## {reader.project}") for section in SECTIONS), reader.project


def test_a_comment_stays_a_comment() -> None:
    assert comment("a\nb") == "# a b"
