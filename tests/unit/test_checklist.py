"""Every line of docs/xds-checklist.md has a test named after it, of the machines and at the wire."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("tests/unit/xds", "tests/wire")
_NAMED = re.compile(r"test_line_(\d\d)_")
_LISTED = re.compile(r"^(\d+)\. ", re.MULTILINE)

ELSEWHERE = {
    ("tests/unit/xds", 19): "the size of a message is gRPC's to allow",
    ("tests/unit/xds", 20): "pings and the age of a connection are gRPC's",
    ("tests/unit/xds", 21): "shutting down is done to connections, which a machine does not have",
}
"""Lines that make sense in one of the folders alone, with the reason."""


def lines() -> list[int]:
    """The numbers of the checklist."""
    return [int(number) for number in _LISTED.findall((ROOT / "docs/xds-checklist.md").read_text())]


def named_after(folder: str) -> set[int]:
    """The lines that the tests of a folder are named after; their files are read, not run."""
    return {
        int(found[1])
        for path in (ROOT / folder).rglob("test_*.py")
        for part in ast.walk(ast.parse(path.read_text()))
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)
        and (found := _NAMED.match(part.name)) is not None
    }


def test_the_checklist_is_numbered_without_a_gap() -> None:
    assert lines() == list(range(1, len(lines()) + 1))
    assert len(lines()) >= 36


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_line_has_a_test_named_after_it(folder: str) -> None:
    excused = {line for where, line in ELSEWHERE if where == folder}
    assert named_after(folder) == set(lines()) - excused
