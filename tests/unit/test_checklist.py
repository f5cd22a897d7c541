"""Every rule of docs/internals/xds-checklist.md has tests named after it, for the machines and the wire."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("tests/unit/xds", "tests/wire")
_NAMED = re.compile(r"test_rule_(\d\d)_")
_LISTED = re.compile(r"^(\d+)\. ", re.MULTILINE)

ELSEWHERE = {
    ("tests/unit/xds", 19): "gRPC bounds the size of a message",
    ("tests/unit/xds", 20): "gRPC sends pings and ends old connections",
    ("tests/unit/xds", 21): "a machine has no connection to shut down",
}
"""Rules that only one of the folders can test, with the reason."""


def rules() -> list[int]:
    """The numbers of the rules."""
    return [int(number) for number in _LISTED.findall((ROOT / "docs/internals/xds-checklist.md").read_text())]


def named_after(folder: str) -> set[int]:
    """The rules that the tests of a folder are named after. The files are parsed, not run."""
    return {
        int(found[1])
        for path in (ROOT / folder).rglob("test_*.py")
        for part in ast.walk(ast.parse(path.read_text()))
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)
        and (found := _NAMED.match(part.name)) is not None
    }


def test_the_checklist_is_numbered_without_a_gap() -> None:
    assert rules() == list(range(1, len(rules()) + 1))
    assert len(rules()) >= 36


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_rule_has_a_test_named_after_it(folder: str) -> None:
    excused = {rule for where, rule in ELSEWHERE if where == folder}
    assert named_after(folder) == set(rules()) - excused
