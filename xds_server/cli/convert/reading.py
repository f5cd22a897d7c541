"""Common parts of readers: finding documents, and values that several projects have."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final, TypeVar

from xds_server.base.ids import NamespacedName
from xds_server.cli.convert.documents import Documents, group_of, name_of
from xds_server.cli.convert.fields import Doc, Document, Fate, Metadata, Note, read
from xds_server.cli.convert.rules import Backend, How, Match, Mirror, Path, Rule, Source

D = TypeVar("D", bound=Document)

_HTTP: Final = 80
_VERSIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "networking.istio.io": ("v1", "v1beta1", "v1alpha3"),
    "flagger.app": ("v1beta1", "v1alpha3"),
    "getambassador.io": ("v1", "v2", "v3alpha1"),
    "projectcontour.io": ("v1",),
    "networking.k8s.io": ("v1", "v1beta1"),
    "extensions": ("v1beta1",),
    "gateway.networking.k8s.io": ("v1", "v1beta1", "v1alpha2"),
    "apisix.apache.org": ("v2", "v2beta3", "v2beta2", "v2beta1"),
    "consul.hashicorp.com": ("v1alpha1",),
}
"""API versions, the newest first."""
_LITERAL: Final = re.compile(r"[A-Za-z0-9/_~-]+")


def documents(
    docs: Documents, project: str, groups: Sequence[str], kind: type[D], name: str
) -> tuple[list[tuple[Source, D]], list[Rule]]:
    """The documents of one kind with their sources, the oldest first, and a rule that does not run for each
    invalid document."""
    found: list[tuple[Source, D]] = []
    wrong: list[Rule] = []
    for doc in (each for group in groups for each in docs.of(group, name)):
        reading = read(kind, doc)
        source = Source(project, name, name_of(doc), notes=(*reading.notes, *_of_version(doc)))
        if reading.value is None or len(source.notes) > len(reading.notes):
            wrong.append(not_understood(source))
        else:
            metadata = getattr(reading.value, "metadata", Metadata())
            source.created = metadata.creation_timestamp
            found.append((source, reading.value))
    found.sort(key=lambda each: each[0].created)
    return found, wrong


def _of_version(doc: Doc) -> Iterator[Note]:
    """Note an unknown version, in which fields may have another meaning."""
    version = str(doc.get("apiVersion")).partition("/")[2]
    known = _VERSIONS.get(group_of(doc), (version,))
    if version not in known:
        yield Note(
            ("apiVersion",),
            Fate.STOPS,
            f"{version} is not one of the supported versions: {', '.join(known)}",
        )


def not_understood(source: Source) -> Rule:
    """A rule in place of a document that cannot be read, because it may have a mirror."""
    nothing = Mirror(Backend(None, "of this document"))
    return Rule(source, (), (), Match(), mirrors=(nothing,), problems=("the document is invalid",))


def address(docs: Documents, text: str, namespace: str) -> tuple[NamespacedName | None, int, str]:
    """The Service, the port (80 by default) and the path of a URL such as ``http://next.shop:8080/base``. The
    Service is None if the host is not a Service or the scheme is not http."""
    scheme, separator, rest = text.rpartition("://")
    host, slash, path = rest.partition("/")
    host, _, port = host.partition(":")
    service = docs.local(host, namespace) if not separator or scheme == "http" else None
    if port and not (port.isascii() and port.isdigit()):
        return None, _HTTP, ""
    return service, int(port) if port else _HTTP, slash + path


def percent(value: float) -> Decimal:
    """A percentage. A value that is not a number is returned as a negative one, which is invalid."""
    return Decimal(str(value)) if math.isfinite(value) else Decimal(-1)


def by_regex(text: str, others: list[str]) -> Path | None:
    """A condition on the path by a regular expression: its literal beginning as a prefix, and the expression
    as one of the `others`."""
    others.append(f"the path by the regular expression {text}")
    literal = _LITERAL.match(text)
    found = literal.group() if literal else ""
    rest = text[len(found) :]
    if rest[:1] in ("?", "*", "{"):
        found = found[:-1]
    return Path(How.PREFIX, found) if found.startswith("/") and "|" not in rest else None
