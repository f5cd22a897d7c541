"""What an Envoy says of a response that it refuses: which resources it calls wrong.

Where a field breaks a rule of its message, Envoy prints the whole resource, for a route configuration
everybody's, and the reason after it; and it cuts what it says after 4,096 characters, often before the
reason. So what it printed is replaced by the name of what is wrong: of the resource, or of the virtual host
that the reason counts off. Measured on 1.36 and 1.40: clusters and listeners are named ("Error
adding/updating cluster(s) NAME: REASON, …"), of two virtual hosts with the same domain the domain alone, and
of an endpoint or a route that it does not like nothing.
"""

import re
from collections.abc import Mapping
from typing import Final

from xds_server.xds.resource import Resource

_LONGEST: Final = 8192
"""Twice of what Envoy sends; more is not looked at."""

_LINE: Final = r'[ ]{0,40}(?:[a-z]\w{0,99}: (?:"(?:[^"\\\n]|\\.)*"|[-+\w.]{1,99})|[\w.\[\]/]{1,200} \{|\})\n'
# Every part is bounded and the end is optional, so that no message takes long: it is a peer's.
_PRINTED: Final = re.compile(
    rf"(?:goo\.gle/debug\w{{1,20}}\s+)?(?<!\w)(?! )(?P<resource>(?:{_LINE}){{2,}}+)"
    r"(?::[ ]|(?P<cut>[^\n]{0,4096}\.\.\.\(truncated\)))?"
)
_NAME: Final = re.compile(r'^(?:cluster_)?name: "([^"\n]*)"$', re.MULTILINE)
_VIRTUAL_HOST: Final = re.compile(r'^virtual_hosts \{\n  name: "([^"\n]*)"$', re.MULTILINE)
_INDEX: Final = re.compile(r"RouteConfigurationValidationError\.VirtualHosts\[([0-9]{1,9})\]")
_WORD: Final = re.compile(r"[^\s,'\"()]+")
_DOMAIN: Final = re.compile(r"\bdomain ([^\s,'\"]{1,261})")


def without_printed_resources(message: str) -> str:
    """The message with names instead of printed resources."""
    return _PRINTED.sub(_named, message[:_LONGEST])


def names_in(message: str, resources: Mapping[str, Resource]) -> frozenset[str]:
    """The names of those of `resources` that the message names, or of which it names a claim."""
    text = without_printed_resources(message)
    words = {part for word in _WORD.findall(text) for part in (word, word.rstrip(".:;"))}
    found = {word for word in words if word in resources}
    if domains := set(_DOMAIN.findall(text)):
        found |= {name for name, each in resources.items() if not domains.isdisjoint(each.claims)}
    return frozenset(found)


def _named(printed: re.Match[str]) -> str:
    """What stands for a printed resource."""
    names = _NAME.findall(printed["resource"])[:1]
    if at := _INDEX.match(printed.string, _start_of_reason(printed)):
        hosts = _VIRTUAL_HOST.findall(printed["resource"])
        names += [f"virtual host {host}" for host in hosts[int(at[1]) :][:1]]
    subject = ", ".join(names) or "the resource"
    return f"{subject}: Envoy's message ends before its reason" if printed["cut"] else f"{subject}: "


def _start_of_reason(printed: re.Match[str]) -> int:
    return printed.string.find("(", printed.end()) + 1
