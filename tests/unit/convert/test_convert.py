"""`convert`: examples as the documentation of six projects has them, and the lines that come of them.

After a change that is meant: ``UPDATE_GOLDEN=1 pytest tests/unit/convert``, then read the diff.
"""

import os
import re
import shlex
from collections.abc import Iterable, Iterator
from copy import deepcopy
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from xds_server.convert.convert import _READERS, convert
from xds_server.shadows.policy import parse_policy
from xds_server.sources.manifests import documents

EXAMPLES = Path(__file__).parent / "examples"
CASES = sorted(path.stem for path in EXAMPLES.glob("*.yaml"))
UPDATE = bool(os.environ.get("UPDATE_GOLDEN"))


def converted(text: str) -> list[str]:
    return convert(list(yaml.safe_load_all(text))).lines


@pytest.mark.parametrize("case", CASES)
def test_the_lines_are_the_recorded_ones(case: str) -> None:
    path = EXAMPLES / f"{case}.yaml"
    docs = [doc for doc in documents(str(path), path.read_bytes()) if isinstance(doc, dict)]
    result = "\n".join(convert(docs).lines) + "\n"
    expected = EXAMPLES / f"{case}.txt"
    if UPDATE:
        expected.write_text(result)
    assert result == expected.read_text()


def test_every_project_has_its_example() -> None:
    groups = {
        str(doc["apiVersion"]).partition("/")[0]
        for path in EXAMPLES.glob("*.yaml")
        for doc in yaml.safe_load_all(path.read_text())
    }
    assert set(_READERS) <= groups


@pytest.mark.parametrize("case", CASES)
def test_what_is_to_be_typed_is_a_policy_that_is_understood(case: str) -> None:
    for line in (EXAMPLES / f"{case}.txt").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        words = shlex.split(line)
        assert words[:2] == ["kubectl", "-n"]
        if words[3:5] == ["annotate", "deployment"]:
            parse_policy(dict(word.split("=", 1) for word in words[6:]))


HOSTILE = "x\nrm -rf ~\r$(reboot)`reboot`;'\"\x1b[0m\u2028"


@pytest.mark.parametrize("case", CASES)
def test_nothing_of_a_document_escapes_its_line(case: str) -> None:
    docs = list(yaml.safe_load_all((EXAMPLES / f"{case}.yaml").read_text()))

    def poisoned(value: Any) -> Any:
        match value:
            case dict():
                return {key: poisoned(each) if key != "kind" else each for key, each in value.items()}
            case list():
                return [poisoned(each) for each in value]
            case str():
                return value + HOSTILE
            case _:
                return value

    wicked = [{**poisoned(doc), "apiVersion": doc["apiVersion"]} for doc in docs]
    for doc in wicked:
        _restore(doc, "type")
    for line in convert(wicked).lines:
        assert line.isprintable()
        assert line == "" or line.startswith("# ") or shlex.split(line)[:2] == ["kubectl", "-n"]


def _restore(value: Any, name: str) -> None:
    """Without what would keep a mirror from being found at all."""
    match value:
        case dict():
            if isinstance(value.get(name), str):
                value[name] = value[name].removesuffix(HOSTILE)
            for each in value.values():
                _restore(each, name)
        case list():
            for each in value:
                _restore(each, name)


SHAPES: tuple[Any, ...] = (None, 5, 1.5, True, "x", [None], [[1]], [{}], {"a": 1}, {"a": None})


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value in a document."""
    yield path
    keys: Iterable[Any] = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in keys:
        yield from places(value[key], (*path, key))


@pytest.mark.parametrize("case", CASES)
def test_a_document_of_any_shape_is_read_or_passed_over(case: str) -> None:
    text = (EXAMPLES / f"{case}.yaml").read_text()
    ways = [path for path in places(list(yaml.safe_load_all(text))) if len(path) > 1]
    pristine = list(yaml.safe_load_all(text))
    for (*before, last), shape in product(ways, SHAPES):
        docs = deepcopy(pristine)
        inner: Any = docs
        for step in before:
            inner = inner[step]
        inner[last] = shape
        assert all(line.isprintable() for line in convert(docs).lines)


def test_other_documents_are_passed_over() -> None:
    assert convert([{"kind": "Service", "apiVersion": "v1"}, {}, {"apiVersion": 5}]).mirrors == 0
    assert converted("apiVersion: example.com/v1\nkind: VirtualService\n") == []


PAGE = (Path(__file__).parents[3] / "docs" / "migration.md").read_text()
SECTIONS = [f"## {section}" for section in PAGE.split("\n## ")[1:]]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.split()[1].strip(":"))
def test_the_page_shows_what_is_printed(section: str) -> None:
    [given], [shown] = (re.findall(rf"```{kind}\n(.*?)```", section, re.DOTALL) for kind in ("yaml", "sh"))
    assert [line for line in converted(given) if not line.startswith("#")] == shown.splitlines()


def test_the_page_has_a_section_for_each_project() -> None:
    assert len(SECTIONS) == len(_READERS)
