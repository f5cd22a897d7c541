"""Lock files: what stands in them, and what they are made of."""

import re
from importlib.metadata import requires
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements.lock"
RUNTIME_LOCK = ROOT / "requirements-runtime.lock"
IMAGE_LOCK = ROOT / "requirements-image.lock"
"""What an image is built with, and what its target `demo` has besides."""


class Pin(NamedTuple):
    """One entry: the requirement with its version, and the hashes of its archives."""

    requirement: Requirement
    hashes: frozenset[str]

    @property
    def version(self) -> str:
        (each,) = self.requirement.specifier
        return each.version

    @property
    def here(self) -> bool:
        """Whether it is for this machine."""
        return self.requirement.marker is None or self.requirement.marker.evaluate()


def pins(lock: Path) -> dict[str, Pin]:
    """The entries by name."""
    statements = re.sub(r"^\s*#.*\n", "", lock.read_text(), flags=re.MULTILINE).replace("\\\n", "")
    found: dict[str, Pin] = {}
    for statement in statements.splitlines():
        requirement, *hashes = statement.split("--hash=")
        pin = Pin(Requirement(requirement), frozenset(each.strip() for each in hashes))
        found[canonicalize_name(pin.requirement.name)] = pin
    return found


def excluded(lock: Path) -> set[str]:
    """The packages that the Makefile excludes from a lock, because the program never imports them."""
    _, _, names = lock.read_text().partition("# The following packages were excluded from the output:\n")
    return {canonicalize_name(line.removeprefix("# ")) for line in names.splitlines()}


def needed(distribution: str, extras: frozenset[str] = frozenset()) -> set[str]:
    """What an installed distribution needs here to run, by the metadata of what is installed."""
    found: set[str] = set()
    todo = [(distribution, extras)]
    seen = set(todo)
    while todo:
        name, wanted = todo.pop()
        for text in requires(name) or ():
            requirement = Requirement(text)
            marker = requirement.marker
            if marker and not any(marker.evaluate({"extra": extra}) for extra in wanted | {""}):
                continue
            found.add(canonicalize_name(requirement.name))
            if (each := (requirement.name, frozenset(requirement.extras))) not in seen:
                seen.add(each)
                todo.append(each)
    return found
