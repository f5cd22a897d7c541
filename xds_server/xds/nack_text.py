"""Reads the message of a NACK: which resources does Envoy reject?

If a field violates a validation rule, Envoy prints the whole resource and then the reason. A printed route
configuration has the virtual hosts of all tenants. Envoy truncates the message after 4,096 characters, often
before the reason. So the printed resource is replaced by the name of what is wrong: of the resource, or of
the virtual host whose index the reason has. Measured on 1.36 and 1.40: Envoy names clusters and listeners
("Error adding/updating cluster(s) NAME: REASON, …"). Of two virtual hosts with the same domain it names only
the domain. Of endpoints and routes it names nothing.
"""

import re
from collections.abc import Mapping
from typing import Final

from xds_server.xds.resource import Resource

_LONGEST: Final = 8192
"""Twice what Envoy sends. The rest of a longer message is ignored."""

_LINE: Final = r'[ ]{0,40}(?:[a-z]\w{0,99}: (?:"(?:[^"\\\n]|\\.)*"|[-+\w.]{1,99})|[\w.\[\]/]{1,200} \{|\})\n'
# Every part is bounded and the end is optional, because the message comes from a peer and must not take long
# to match.
_PRINTED: Final = re.compile(
    rf"(?:goo\.gle/debug\w{{1,20}}\s+)?(?<!\w)(?! )(?P<resource>(?:{_LINE}){{2,}}+)"
    r"(?::[ ]|(?P<cut>[^\n]{0,4096}\.\.\.\(truncated\)))?"
)
_NAME: Final = re.compile(r'^(?:cluster_)?name: "([^"\n]*)"$', re.MULTILINE)
_VIRTUAL_HOST: Final = re.compile(r'^virtual_hosts \{\n  name: "([^"\n]*)"$', re.MULTILINE)
_INDEX: Final = re.compile(r"RouteConfigurationValidationError\.VirtualHosts\[([0-9]{1,9})\]")
_WORD: Final = re.compile(r"[^\s,'\"()]+")
_DOMAIN: Final = re.compile(r"\bdomain ([^\s,'\"]{1,262})")
_TRAILING_DOT: Final = re.compile(r"\.(?=:|$)")


def without_printed_resources(message: str) -> str:
    """The message with names in place of printed resources."""
    return _PRINTED.sub(_named, message[:_LONGEST])


def names_in(message: str, resources: Mapping[str, Resource]) -> frozenset[str]:
    """The names of those of `resources` that the message names, or one of whose claims it names."""
    text = without_printed_resources(message)
    words = {part for word in _WORD.findall(text) for part in (word, word.rstrip(".:;"))}
    found = {word for word in words if word in resources}
    if named := domains(text):
        found |= {name for name, each in resources.items() if not named.isdisjoint(each.claims)}
    return frozenset(found)


def domains(message: str) -> frozenset[str]:
    """The domains that `message` names, without the trailing dot. A virtual host has each domain with and
    without it. If two virtual hosts have the same domain, Envoy names only the domain."""
    return frozenset(_TRAILING_DOT.sub("", found) for found in _DOMAIN.findall(message))


def _named(printed: re.Match[str]) -> str:
    """The text that replaces a printed resource."""
    names = _NAME.findall(printed["resource"])[:1]
    if at := _INDEX.match(printed.string, _start_of_reason(printed)):
        hosts = _VIRTUAL_HOST.findall(printed["resource"])
        names += [f"virtual host {host}" for host in hosts[int(at[1]) :][:1]]
    subject = ", ".join(names) or "the resource"
    return f"{subject}: Envoy's message ends before its reason" if printed["cut"] else f"{subject}: "


def _start_of_reason(printed: re.Match[str]) -> int:
    return printed.string.find("(", printed.end()) + 1
