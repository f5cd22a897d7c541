"""Generates the lists of fields in docs/migration.md from the readers' structs.

``python -m xds_server.cli.convert.tables`` prints them.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from xds_server.cli.convert.convert import READERS
from xds_server.cli.convert.fields import Fate, Mark, Part, rows

_LEADS: Final[Mapping[Fate, str]] = {
    Fate.CARRIED: "Converted, if annotations can express the value",
    Fate.HARMLESS: "Ignored, because mirroring does not depend on it",
    Fate.LOST: "Reported; the commands run without it",
    Fate.NO_HOSTS: "Reported; its hosts are not added to the Service",
    Fate.STOPS: "Reported; the commands for its mirrors do not run",
}


def page() -> Iterator[str]:
    """The lines of Markdown."""
    for reader in READERS:
        yield from ("", f"### Fields of {reader.project}", "", _kinds(reader.passed))
        for kind, struct in (*reader.kinds.items(), *reader.inside.items()):
            yield from ("", f"**{kind}**", "")
            yield from _list(struct)


def _kinds(passed: Iterable[str]) -> str:
    named = ", ".join(f"`{kind}`" for kind in sorted(passed))
    return (
        f"Objects of these kinds do not affect mirroring: {named}. Any other object of the project that is"
        " not read is reported; mirrors that it may affect do not run, and its hosts are not added."
    )


def _list(struct: type[Part]) -> Iterator[str]:
    grouped: dict[Mark, list[str]] = {}
    for row in rows(struct):
        grouped.setdefault(row.mark, []).append(row.path)
    for fate, lead in _LEADS.items():
        for mark, paths in grouped.items():
            if mark.fate is fate:
                why = f" ({mark.why})" if mark.why else ""
                yield f"- {lead}{why}: {', '.join(f'`{path}`' for path in paths)}"


def main() -> None:
    """Print the lines."""
    print("\n".join(page()))


if __name__ == "__main__":
    main()
