"""No `raise` stands in an `except*`: Python 3.11.2, which Debian 12 has, puts what is raised there into a
group, and a message of one line becomes a traceback of eighty."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]


def _raises(path: Path) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{found.lineno}"
        for group in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(group, ast.TryStar)
        for handler in group.handlers
        for found in ast.walk(handler)
        if isinstance(found, ast.Raise)
    ]


def test_what_is_raised_is_raised_after_the_handler() -> None:
    files = [path for folder in ("xds_server", "bench", "scripts") for path in (ROOT / folder).rglob("*.py")]
    assert [found for path in files for found in _raises(path)] == []
