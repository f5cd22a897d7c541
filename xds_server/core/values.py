"""Reads the value of one annotation, or raises `PolicyError` with a sentence that says what to write.

A value that Envoy would reject is rejected here, so that Envoy never rejects a response because of it. This
concerns header names and values, paths and substitution formatters. Users cannot write regular expressions.
`quantities` reads numbers.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from xds_server.base.dns import LABEL, SUBDOMAIN
from xds_server.base.text import shown
from xds_server.core.terms import (
    PRESERVE,
    SHADOW_SUFFIX,
    FormField,
    HeaderCondition,
    JsonPointer,
    PathPrefix,
    Rewrite,
    SecretKey,
)

ALL_PATHS: Final = PathPrefix("/")

MAX_METHODS: Final = 16
MAX_PATHS: Final = 16
MAX_CONDITIONS: Final = 8
MAX_HEADERS: Final = 32
MAX_REWRITES: Final = 8
MAX_REDACTIONS: Final = 32
MAX_PATH_LENGTH: Final = 1024
MAX_VALUE_LENGTH: Final = 1024

# RFC 9110 tokens in capitals.
_METHOD: Final = re.compile(r"[A-Z][A-Z0-9-]{0,31}\Z")
_SERVICE: Final = re.compile(r"service/([a-z]([-a-z0-9]{0,61}[a-z0-9])?)\Z")
# RFC 9110, 5.6.2, without capitals: HTTP/2 has none.
_HEADER_NAME: Final = re.compile(r"[a-z0-9!#$&'*+.^_`|~-]{1,128}\Z")
# A star that is meant as a wildcard. Those of */*, text/* and * alone are values that clients send.
_GLOB: Final = re.compile(r"[\w.-]\*|\*[\w.-]", re.ASCII)
_HEADER_VALUE: Final = re.compile(r"[\x20-\x7e]*\Z")
# The characters of a path (RFC 3986). Envoy may normalize a request's path before it matches.
_PATH: Final = re.compile(r"/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*\Z")
_HOST: Final = re.compile(rf"(?=[^:]{{1,253}}(?::|\Z)){LABEL}(\.{LABEL})*(?P<port>:[0-9]{{1,5}})?\Z")
SECRET_KEY: Final = re.compile(rf"({SUBDOMAIN})/([-._A-Za-z0-9]{{1,253}})\Z")
_POINTER: Final = re.compile(r"(/([^~/]|~[01])*)+\Z", re.DOTALL)
_FORMATTER: Final = re.compile(r"%([A-Z_]+)(?:\(([^()%]*)\))?%")

SAFE_FORMATTERS: Final = (
    "DOWNSTREAM_REMOTE_ADDRESS",
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    "HOSTNAME",
    "PROTOCOL",
    "REQ",
    "START_TIME",
    "STREAM_ID",
)
"""Envoy's substitution formatters that describe the request. None of them reads Envoy's environment, files or
secrets."""

_READABLE_PSEUDO_HEADERS: Final = frozenset({":authority", ":method", ":path", ":scheme"})
CALLERS_CREDENTIALS: Final = ("authorization", "cookie", "proxy-authorization")
"""The headers that are removed from a mirrored request with a credential of its own."""

REMOVED_BY_ENVOY: Final = frozenset(
    {
        "connection",
        "expect",
        "http2-settings",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
    }
)
"""The headers that Envoy removes from a request before it selects a route (measured on 1.36 and 1.40). It
keeps them on upgrades, which are not mirrored."""

_FRAMING: Final = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers that cannot be changed: the mirrored request would be another request, or not valid (RFC 9110,
7.6.1)."""


class PolicyError(ValueError):
    """A value that is not valid. The message says what to write instead."""


def sentence(error: PolicyError) -> str:
    """The message as a whole sentence."""
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('?') else '.'}"


def sample(value: str) -> bool:
    """Whether samples are correlated."""
    if value not in ("correlated", "independent"):
        raise PolicyError(f"{shown(value)} is neither correlated nor independent")
    return value == "correlated"


def compare(value: str) -> bool:
    """Whether the bodies of responses are compared."""
    if value not in ("bodies", "none"):
        raise PolicyError(f"{shown(value)} is neither bodies nor none")
    return value == "bodies"


def methods(value: str) -> frozenset[str]:
    found = list(entries(value))
    for method in found:
        if not _METHOD.match(method):
            hint = f"{shown(method)} is not a request method" if method else "there is an empty entry"
            raise PolicyError(f"{hint}; write a list in capitals such as GET,HEAD")
        if method == "CONNECT":
            raise PolicyError("CONNECT matches nothing, as Envoy never mirrors it")
    at_most(len(set(found)), MAX_METHODS, "methods")
    return frozenset(found)


def paths(value: str) -> frozenset[PathPrefix]:
    found = {_path(entry) for entry in entries(value)}
    at_most(len(found), MAX_PATHS, "paths")
    return frozenset(found)


def header_conditions(value: str) -> frozenset[HeaderCondition]:
    found = {_condition(entry) for entry in entries(value)}
    at_most(len(found), MAX_CONDITIONS, "conditions")
    _several(condition for condition in found if condition.value is not None)
    return frozenset(found)


def _several(conditions: Iterator[HeaderCondition]) -> None:
    seen: set[str] = set()
    for condition in conditions:
        if condition.name in seen:
            raise PolicyError(f"it wants two values of the header {condition.name}, and all must hold")
        seen.add(condition.name)


def header_names(value: str) -> tuple[str, ...]:
    """Headers that can be removed from a mirrored request, sorted."""
    found = {_changeable(_header_name(entry)) for entry in entries(value)}
    at_most(len(found), MAX_HEADERS, "headers")
    return tuple(sorted(found))


def set_headers(value: str) -> tuple[tuple[str, str], ...]:
    """Headers to set on a mirrored request, with their values, sorted by name."""
    found: dict[str, str] = {}
    for entry in entries(value):
        name, equals, text = entry.partition("=")
        if not equals:
            raise PolicyError(f"{shown(entry)} has no value; write a list such as x-env=shadow,x-team=shop")
        name = _changeable(_header_name(name.strip()))
        if name in found:
            raise PolicyError(f"it sets the header {name} twice")
        found[name] = _formatted(_header_value(text.strip()))
    at_most(len(found), MAX_HEADERS, "headers")
    return tuple(sorted(found.items()))


def is_host_name(text: str) -> bool:
    """Whether it is a DNS name in lower case (RFC 1123), without a port."""
    found = _HOST.match(text)
    return found is not None and found["port"] is None


def host(value: str) -> str:
    if value in (PRESERVE, SHADOW_SUFFIX) or _HOST.match(value):
        return value
    raise PolicyError(
        f"{shown(value)} is not valid; write {PRESERVE}, {SHADOW_SUFFIX} or a host such as app.example.com"
    )


def rewrites(value: str) -> tuple[Rewrite, ...]:
    """The longest first."""
    found: dict[PathPrefix, str] = {}
    for entry in entries(value):
        old, equals, new = (part.strip() for part in entry.partition("="))
        if not equals:
            raise PolicyError(f"{shown(entry)} has no replacement; write /old=/new")
        prefix = _path(old)
        if prefix in found:
            raise PolicyError(f"it rewrites {shown(old)} twice")
        found[prefix] = _path(new)
    at_most(len(found), MAX_REWRITES, "prefixes")
    return tuple(Rewrite(old, found[old]) for old in sorted(found, key=lambda each: (-len(each), each)))


def redactions(value: str) -> tuple[JsonPointer | FormField, ...]:
    """Sorted by kind and name, without duplicates."""
    found = {_redaction(entry) for entry in entries(value)}
    at_most(len(found), MAX_REDACTIONS, "places")
    return in_order(found)


def in_order(places: Iterable[JsonPointer | FormField]) -> tuple[JsonPointer | FormField, ...]:
    """Sorted by kind and name."""
    return tuple(sorted(places, key=lambda each: (type(each).__name__, each)))


def secret_key(value: str) -> SecretKey:
    match = SECRET_KEY.match(value)
    if not match:
        raise PolicyError(f"{shown(value)} does not name a key of a Secret; write NAME/KEY")
    return SecretKey(match.group(1), match.group(2))


def boolean(value: str) -> bool:
    if value not in ("true", "false"):
        raise PolicyError(f"{shown(value)} is neither true nor false")
    return value == "true"


def service(value: str) -> str:
    match = _SERVICE.match(value)
    if not match:
        raise PolicyError(f"{shown(value)} does not name a Service; write service/NAME")
    return match.group(1)


def headers_read(value: str) -> frozenset[str]:
    """The request headers whose values a value of `set_headers` contains."""
    found = (match.groups() for match in _FORMATTER.finditer(value.replace("%%", "")))
    return frozenset(argument for name, argument in found if name == "REQ" and argument)


def entries(value: str) -> Iterator[str]:
    """The entries of a list, which commas separate. If the text has line breaks, only these separate entries,
    so a value can contain commas."""
    if "\n" in value:
        return (line.strip() for line in value.splitlines() if line.strip())
    return (entry.strip() for entry in value.split(","))


def listed(value: str) -> tuple[str, ...]:
    """The entries of a comma-separated list, with empty ones."""
    return tuple(entry.strip() for entry in value.split(","))


def at_most(count: int, most: int, what: str) -> None:
    if count > most:
        raise PolicyError(f"it lists {count} {what}; the maximum is {most}")


def _path(value: str) -> PathPrefix:
    if not _PATH.match(value) or len(value) > MAX_PATH_LENGTH:
        hint = f"{shown(value)} is not a path prefix" if value else "there is an empty entry"
        raise PolicyError(f"{hint}; write a list such as /api,/static/ without query and wildcard")
    if "*" in value:
        raise PolicyError(
            f"{shown(value)} matches nothing, as a path is a prefix and * stands for itself; write"
            f" {_before_the_star(value)} for all paths that begin with it"
        )
    steps = value.split("/")
    if "." in steps or ".." in steps or "" in steps[1:-1]:
        raise PolicyError(
            f"{shown(value)} matches nothing where normalize-paths of the gateway resolves //, /./ and /../;"
            " write the path without them"
        )
    return PathPrefix(value)


def _before_the_star(path: str) -> str:
    """The prefix up to the star: ``/api/`` for ``/api/*`` and for ``/api/v*/x``."""
    return path[: path.rindex("/", 0, path.index("*")) + 1]


def _condition(entry: str) -> HeaderCondition:
    name, equals, text = entry.partition("=")
    name = _header_name(name.strip())
    if name in ("host", "x-xds-shadow"):
        raise PolicyError(f"the header {name} cannot be a condition")
    if name in REMOVED_BY_ENVOY:
        raise PolicyError(
            f"the header {name} matches nothing: it belongs to the connection, and Envoy removes it"
        )
    text = _header_value(text.strip())
    if _GLOB.search(text):
        raise PolicyError(
            f"{shown(text)} is compared as it stands, and * stands for itself; write {name} alone to match"
            " any value"
        )
    if equals and not text:
        raise PolicyError(f"{shown(entry)} has an empty value; write {name} alone to match any value")
    return HeaderCondition(name, text if equals else None)


def _header_name(name: str) -> str:
    if name.startswith(":"):
        raise PolicyError(
            f"{shown(name)} is a pseudo-header; use methods, paths, host or rewrite-path-prefix"
        )
    if not _HEADER_NAME.match(name.lower()):
        hint = f"{shown(name)} is not a header name" if name else "there is an empty entry"
        raise PolicyError(f"{hint}; write a list such as x-team,x-env")
    if "*" in name:
        raise PolicyError(f"{shown(name)} is not a header name: * is not a wildcard; list each header")
    return name.lower()


def _header_value(value: str) -> str:
    if not _HEADER_VALUE.match(value):
        raise PolicyError(f"{shown(value)} holds characters other than printable ASCII")
    if len(value) > MAX_VALUE_LENGTH:
        raise PolicyError(f"{shown(value)} is longer than {MAX_VALUE_LENGTH} characters")
    return value


def _changeable(name: str) -> str:
    if name in _FRAMING:
        use = "use the annotation host" if name == "host" else "it belongs to the connection"
        raise PolicyError(f"the header {name} cannot be changed: {use}")
    if name.startswith(("x-envoy-", "x-xds-shadow")):
        raise PolicyError(f"the header {name} cannot be changed: Envoy and xds-shadow use it themselves")
    return name


def _formatted(value: str) -> str:
    """The value, in which every ``%`` is doubled or begins a formatter that is safe."""
    rest = _FORMATTER.sub(_checked_formatter, value.replace("%%", ""))
    if "%" in rest:
        raise PolicyError(
            f"{shown(value)} has a % that begins no formatter; write %% for the character itself"
        )
    if not value:
        raise PolicyError("a header has an empty value; use remove-headers to remove the header")
    return value


def _checked_formatter(match: re.Match[str]) -> str:
    name, argument = match.groups()
    if name not in SAFE_FORMATTERS:
        raise PolicyError(f"%{name}% is not among the formatters that are safe: {', '.join(SAFE_FORMATTERS)}")
    if name != "REQ":
        if argument is not None:
            raise PolicyError(f"%{name}% takes no argument here")
    elif argument in CALLERS_CREDENTIALS:
        raise PolicyError(f"%REQ({argument})% would carry the caller's credentials elsewhere")
    elif argument not in _READABLE_PSEUDO_HEADERS and not _HEADER_NAME.match(argument or ""):
        raise PolicyError(f"{shown(match.group())} is not a header; write %REQ(x-name)% in lower case")
    return ""


def _redaction(entry: str) -> JsonPointer | FormField:
    kind, _, where = entry.partition(":")
    if kind == "json" and len(where) <= MAX_PATH_LENGTH and _POINTER.match(where):
        steps = [step.replace("~1", "/").replace("~0", "~") for step in where.split("/")[1:]]
        if any("*" in step and step != "*" for step in steps):
            raise PolicyError(
                f"{shown(entry)} masks nothing: * stands for a whole step, as in json:/cards/*/number"
            )
        return JsonPointer(tuple(steps))
    if kind == "form" and "*" in where:
        raise PolicyError(f"{shown(entry)} masks nothing: * stands for itself in a form; name each field")
    if kind == "form" and where and len(where) <= MAX_PATH_LENGTH:
        return FormField(where)
    hint = f"{shown(entry)} is not a field of a body" if entry else "there is an empty entry"
    raise PolicyError(f"{hint}; write json:/card/number (RFC 6901, * for any) or form:password")
