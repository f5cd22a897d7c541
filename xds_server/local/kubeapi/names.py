"""Rules for names, labels and annotations, with the API server's messages. Pure.

Each check returns the problems as causes for `errors.invalid`; none if the value is valid.
"""

import re
from collections.abc import Iterator
from typing import Final

from xds_server.local.kubeapi.doc import Doc, metadata
from xds_server.local.kubeapi.resources import NAMESPACES, SERVICES, Resource

Cause = tuple[str, str]
"""A field path and a message."""

_LABEL: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN: Final = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_1035: Final = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED: Final = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE: Final = rf"({_QUALIFIED})?"

_LABEL_LIMIT: Final = 63
_SUBDOMAIN_LIMIT: Final = 253
_ANNOTATIONS_LIMIT: Final = 256 << 10

_SUBDOMAIN_TEXT: Final = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    f"'{_SUBDOMAIN}')"
)
_LABEL_TEXT: Final = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start "
    "and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    f"'{_LABEL}')"
)
_LABEL_1035_TEXT: Final = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
    "character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for "
    f"validation is '{_LABEL_1035}')"
)
_QUALIFIED_TEXT: Final = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    f"'{_QUALIFIED}')"
)
_VALUE_TEXT: Final = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used "
    f"for validation is '{_VALUE}')"
)


def name(resource: Resource, value: str) -> str | None:
    """Problems of the name of an object of this kind."""
    if resource.group == "rbac.authorization.k8s.io":
        return _path_segment(value)
    if resource == NAMESPACES:
        return label(value)
    if resource == SERVICES:
        return _dns(value, _LABEL_1035, _LABEL_LIMIT, _LABEL_1035_TEXT)
    return _dns(value, _SUBDOMAIN, _SUBDOMAIN_LIMIT, _SUBDOMAIN_TEXT)


def label(value: str) -> str | None:
    """Problems of an RFC 1123 label, such as the name of a namespace or a port."""
    return _dns(value, _LABEL, _LABEL_LIMIT, _LABEL_TEXT)


def labels(doc: Doc, path: str = "metadata.labels") -> Iterator[Cause]:
    """Problems of the labels at `path`, a mapping of strings."""
    at: object = doc
    for part in path.split("."):
        at = at.get(part) if isinstance(at, dict) else None
    for key, value in at.items() if isinstance(at, dict) else ():
        if problem := _qualified(key):
            yield path, f'Invalid value: "{key}": {problem}'
        if problem := _dns(value, _VALUE, _LABEL_LIMIT, _VALUE_TEXT):
            yield path, f'Invalid value: "{value}": {problem}'


def annotations(doc: Doc) -> Iterator[Cause]:
    """Problems of the object's annotations."""
    path = "metadata.annotations"
    found = metadata(doc).get("annotations") or {}
    for key in found:
        if problem := _qualified(key.lower()):
            yield path, f'Invalid value: "{key}": {problem}'
    if sum(len(key.encode()) + len(value.encode()) for key, value in found.items()) > _ANNOTATIONS_LIMIT:
        yield path, f"Too long: may not be more than {_ANNOTATIONS_LIMIT} bytes"


def finalizers(doc: Doc) -> Iterator[Cause]:
    """Problems of the object's finalizers."""
    for value in metadata(doc).get("finalizers") or ():
        if problem := _qualified(value):
            yield "metadata.finalizers", f'Invalid value: "{value}": {problem}'


def _qualified(key: str) -> str | None:
    prefix, slash, part = key.rpartition("/")
    if slash:
        if not prefix:
            return "prefix part must be non-empty"
        if problem := _dns(prefix, _SUBDOMAIN, _SUBDOMAIN_LIMIT, _SUBDOMAIN_TEXT):
            return f"prefix part {problem}"
    if not part:
        return "name part must be non-empty"
    if len(part) > _LABEL_LIMIT:
        return f"name part must be no more than {_LABEL_LIMIT} bytes"
    return None if re.fullmatch(_QUALIFIED, part) else _QUALIFIED_TEXT


def _dns(value: str, pattern: str, limit: int, text: str) -> str | None:
    if len(value) > limit:
        return f"must be no more than {limit} bytes"
    return None if re.fullmatch(pattern, value) else text


def _path_segment(value: str) -> str | None:
    if value in (".", ".."):
        return f"may not be '{value}'"
    if not value.isprintable():
        return "may not contain control characters"
    return next((f"may not contain '{each}'" for each in "/%" if each in value), None)
