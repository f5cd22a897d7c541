"""The fenced blocks of the pages that a user reads."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")),
)
OMITTED = "…"

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_CHANGES = re.compile(r"\b[0-9a-f]{8,}\b|\d+(\.\d+)?")
"""What is another in every run: versions, counts, times, ports."""

_VERDICT = re.compile(r"\b(TooEarly|Blind|NoWorse|Worse)\b")
"""Of a shadow that has just begun there is none yet."""


@dataclass(frozen=True)
class Block:
    """`text` is without the indentation of a list around it; `line` is that of the fence."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def file(self) -> str:
        """The name that its first line gives, as a comment; empty if it gives none."""
        found = re.match(r"# ([\w-]+\.yaml)\n", self.text)
        return found[1] if found else ""

    @property
    def is_session(self) -> bool:
        """Whether it shows commands, each behind ``$``, with what they print."""
        return self.text.startswith("$ ")

    def commands(self) -> str:
        """What is to be typed."""
        if not self.is_session:
            return self.text
        return "\n".join(line[2:] for line in self.text.splitlines() if line.startswith("$ "))

    def output(self) -> list[str]:
        """What is printed then, as far as it is the same every time."""
        printed = [line for line in self.text.splitlines() if not (self.is_session and line.startswith("$ "))]
        return [stable(line) for line in printed if line.strip() not in ("", OMITTED)]


def blocks_of(page: str) -> Iterator[Block]:
    """Every block of a page."""
    text = (ROOT / page).read_text()
    for match in _FENCE.finditer(text):
        inside = re.sub(rf"^{match[1]}", "", match[3], flags=re.MULTILINE)
        yield Block(page, text.count("\n", 0, match.start()) + 1, match[2], inside)


def all_blocks() -> list[Block]:
    return [block for page in PAGES for block in blocks_of(page)]


def stable(line: str) -> str:
    """A line without what changes from run to run, and without the width of columns."""
    return " ".join(_VERDICT.sub("-", _CHANGES.sub("#", line)).split())


def missing(shown: list[str], printed: str) -> list[str]:
    """The lines of `shown` (`Block.output`) that do not follow each other in what was printed."""
    lines = iter([stable(line) for line in printed.splitlines()])
    return [line for line in shown if line not in lines]
