"""The lists of fields in docs/migration.md, made of the readers' structs.

``python -m xds_server.cli.convert.tables`` prints them.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from xds_server.cli.convert.convert import READERS
from xds_server.cli.convert.fields import Fate, Mark, Part, rows

_LEADS: Final[Mapping[Fate, str]] = {
    Fate.CARRIED: "Read, and carried over where annotations can say it",
    Fate.HARMLESS: "Read as deciding nothing here",
    Fate.LOST: "Named; the lines run without it",
    Fate.NO_HOSTS: "Named; a host with it is not given to the Service",
    Fate.STOPS: "Named; no line of what it is about runs",
}


def page() -> Iterator[str]:
    """Lines of Markdown."""
    for reader in READERS:
        yield from ("", f"### Fields of {reader.project}", "", _kinds(reader.passed))
        for kind, struct in (*reader.kinds.items(), *reader.inside.items()):
            yield from ("", f"**{kind}**", "")
            yield from _list(struct)


def _kinds(passed: Iterable[str]) -> str:
    named = ", ".join(f"`{kind}`" for kind in sorted(passed))
    return (
        f"Documents of these kinds have no part in it: {named}. Any"
        " other of the project that is not read is named, and stops what it may be about, or its hosts."
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
    """Print them."""
    print("\n".join(page()))


if __name__ == "__main__":
    main()
