"""Any documents, to the lines of kubectl that do the same here."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from xds_server.convert import contour, emissary, flagger, gateway_api, istio, nginx
from xds_server.convert.found import Doc, Documents, Nothing, Shadow, comment, lines, text

_READERS: Final[dict[str, Callable[[Doc, Documents], Iterator[Shadow | Nothing]]]] = {
    each.GROUP: each.shadows for each in (contour, emissary, flagger, gateway_api, istio, nginx)
}


class Converted(NamedTuple):
    """The lines, and how many mirrors of the documents they are about, of which some have no equivalent."""

    lines: list[str]
    mirrors: int
    without: int


def convert(docs: Sequence[Doc]) -> Converted:
    """What to type instead of these documents."""
    found: list[str] = []
    mirrors = without = 0
    known = Documents(docs)
    for doc in docs:
        reader = _READERS.get(text(doc, "apiVersion").partition("/")[0])
        for each in reader(doc, known) if reader else ():
            mirrors += 1
            if isinstance(each, Nothing):
                without += 1
                found += [comment(each.origin), comment(f"no equivalent: {each.why}")]
            else:
                found += lines(each)
            found.append("")
    return Converted(found[:-1], mirrors, without)
