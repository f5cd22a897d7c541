"""Decodes JSON of an API server and YAML documents of files into objects.

A function returns an object, or raises an error that names the object and what is wrong with it. So an
invalid object does not affect the others. Objects of an API server are not validated again; objects of files
are (`validate`). This module does not know how the bytes arrive or what an object means.
"""

import base64
from collections.abc import Mapping
from types import NoneType
from typing import Final, TypeVar, cast

import msgspec

from xds_server.base.errors import XdsShadowError
from xds_server.core import validate
from xds_server.core.conditions import Condition, Reason, about
from xds_server.core.keys import PREFIX
from xds_server.core.objects import KINDS, WORKLOADS, Kind, Object, Ref, Service, Workload

ObjectT = TypeVar("ObjectT", bound=Object)

MSGSPEC_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""The exceptions of msgspec for malformed bytes: wrong types, invalid UTF-8, too deep nesting."""

_STRING_MAPS: Mapping[Kind, tuple[tuple[str, ...], ...]] = {
    Kind.SERVICE: (("spec", "selector"),),
    **dict.fromkeys(WORKLOADS, (("spec", "selector", "matchLabels"),)),
}
"""Maps of strings besides the two of ``metadata``. Forgotten quotes in them are the usual mistake."""

_OBJECTS: Mapping[Kind, msgspec.json.Decoder[Object]] = {
    kind: cast("msgspec.json.Decoder[Object]", msgspec.json.Decoder(cls)) for kind, cls in KINDS.items()
}


class DecodeError(XdsShadowError):
    """An object or a response cannot be decoded. `ref` is None if the object's name cannot be decoded
    either."""

    def __init__(self, problem: Condition, ref: Ref | None = None) -> None:
        super().__init__(problem.message)
        self.problem = problem
        self.ref = ref


class Identity(msgspec.Struct, rename="camel"):
    """The parts of ``metadata`` that a watch needs. They are decoded separately, because `core.objects` has
    no ``resourceVersion``."""

    name: str = ""
    namespace: str | None = None
    resource_version: str = ""


class _Identified(msgspec.Struct):
    metadata: Identity


_IDENTIFIED = msgspec.json.Decoder(_Identified)


def decode_object(kind: Kind, raw: bytes | msgspec.Raw, origin: str = "") -> Object:
    """The object in the API server's JSON. Raises `DecodeError`."""
    try:
        return trim(_OBJECTS[kind].decode(raw))
    except MSGSPEC_ERRORS as error:
        identity = decode_identity(raw, origin)
        ref = Ref(kind, identity.namespace or "", identity.name) if identity.name else None
        raise DecodeError(unreadable(ref, origin, error), ref) from error


def decode_identity(raw: bytes | msgspec.Raw, origin: str = "") -> Identity:
    """The name and version of an object of any kind. Raises `DecodeError` if it is not an object."""
    try:
        return _IDENTIFIED.decode(raw).metadata
    except MSGSPEC_ERRORS as error:
        raise DecodeError(unreadable(None, origin, error)) from error


def unreadable(ref: Ref | None, origin: str, detail: object) -> Condition:
    """The condition for an object or a response of an API server that does not conform to its API."""
    what = "The object" if ref else "The API server's response"
    known = "its last known state stays" if ref else "the last known objects stay"
    message = f"{what} cannot be read, so {known} in use: {detail}."
    return Condition(about(ref), Reason.DECODE_FAILED, message, origin=origin)


def trim(obj: ObjectT) -> ObjectT:
    """`obj` with the annotations of xds-shadow only, and without its uid unless Events may refer to it. Other
    annotations can be large, and their changes have no effect here."""
    metadata = obj.metadata
    annotations = metadata.annotations
    if annotations is not None:
        annotations = {key: value for key, value in annotations.items() if key.startswith(PREFIX)} or None
    uid = metadata.uid if isinstance(obj, Workload | Service) else None
    if annotations is metadata.annotations and uid == metadata.uid:
        return obj
    metadata = msgspec.structs.replace(metadata, annotations=annotations, uid=uid)
    return msgspec.structs.replace(obj, metadata=metadata)


def from_mapping(document: object, origin: str) -> Object | None:
    """The object of one YAML or JSON document, or None if it is of a kind that is not watched.

    It is as strict as an API server: types are never coerced, and the API server's rules apply (`validate`).
    The default namespace is kubectl's. Raises `DecodeError`.
    """
    if not isinstance(document, dict):
        raise _invalid(None, origin, f"This is {_article(document)}, and a Kubernetes object is a mapping.")
    kind = _kind(document, origin)
    if kind is None:
        return None
    ref = _ref(kind, document, origin)
    document = _with_string_maps(ref, document, origin)
    if kind is Kind.SECRET:
        document = _with_string_data(ref, document, origin)
    try:
        obj = msgspec.convert(document, KINDS[kind])
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        detail = f"{where.rstrip('`')}: {what[:1].lower()}{what[1:]}" if where else what
        raise _invalid(ref, origin, f"{detail}.") from error
    # An API server sets the creation timestamp itself and ignores a client's.
    metadata = msgspec.structs.replace(obj.metadata, namespace=ref.namespace or None, creation_timestamp=None)
    obj = msgspec.structs.replace(obj, metadata=metadata)
    for mistake in validate.mistakes(obj):
        raise _invalid(ref, origin, f"{mistake}.")
    return trim(obj)


def _kind(document: Mapping[object, object], origin: str) -> Kind | None:
    name, version = document.get("kind"), document.get("apiVersion")
    if not isinstance(name, str) or not name:
        raise _invalid(None, origin, "There is no kind; write for example `kind: Service`.")
    if name not in KINDS:
        return None
    kind = Kind(name)
    if not isinstance(version, str) or not version:
        raise _invalid(None, origin, f"A {kind} has no apiVersion; write `apiVersion: {kind.api_version}`.")
    if version == kind.api_version:
        return kind
    # A Service of serving.knative.dev is another kind, which is not watched. A Service of "v2" is a mistake.
    if version.rpartition("/")[0] != kind.api_version.rpartition("/")[0]:
        return None
    message = f"A {kind} has apiVersion {version}; write `apiVersion: {kind.api_version}`."
    raise _invalid(None, origin, message)


def _ref(kind: Kind, document: Mapping[object, object], origin: str) -> Ref:
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or "name" not in metadata:
        raise _invalid(None, origin, f"A {kind} has no metadata.name.")
    name, namespace = metadata["name"], metadata.get("namespace")
    for key, value in (("name", name), ("namespace", namespace)):
        if not isinstance(value, str) and not (key == "namespace" and value is None):
            raise _invalid(None, origin, f"A {kind} has a metadata.{key} that is {_quote_it(value)}.")
    namespace = "" if kind is Kind.NAMESPACE else namespace or "default"
    ref = Ref(kind, namespace, name)
    mistake = validate.name_mistake(KINDS[kind], name, namespace)
    if mistake:
        # Without a ref: no object can have this name, so it is a misspelled name of another object.
        raise DecodeError(Condition(about(ref), Reason.INVALID_OBJECT, f"{mistake}.", origin=origin))
    return ref


def _with_string_maps(ref: Ref, document: Mapping[object, object], origin: str) -> Mapping[object, object]:
    """`document` with "" for null in its maps of strings, as an API server reads `key:`. Raises `DecodeError`
    with the key; msgspec's error would not name it."""
    for path in (("metadata", "labels"), ("metadata", "annotations"), *_STRING_MAPS.get(ref.kind, ())):
        document = _with_string_map(ref, document, path, ".".join(path), origin)
    return document


def _with_string_map(
    ref: Ref, parent: Mapping[object, object], path: tuple[str, ...], field: str, origin: str
) -> Mapping[object, object]:
    child = parent.get(path[0])
    if not isinstance(child, dict):
        return parent
    if len(path) == 1:
        return {**parent, path[0]: _string_map(ref, field, child, origin)}
    return {**parent, path[0]: _with_string_map(ref, child, path[1:], field, origin)}


def _string_map(ref: Ref, field: str, found: Mapping[object, object], origin: str) -> dict[str, str]:
    strings: dict[str, str] = {}
    for key, value in found.items():
        if not isinstance(key, str):
            raise _invalid(ref, origin, f"{field} has a key that is {_quote_it(key)}.")
        if value is not None and not isinstance(value, str):
            raise _invalid(ref, origin, f"{field}[{key!r}] is {_quote_it(value)}.")
        strings[key] = value or ""
    return strings


def _with_string_data(ref: Ref, document: Mapping[object, object], origin: str) -> Mapping[object, object]:
    """`document` with ``stringData`` merged into ``data``, as an API server stores it. Raises `DecodeError`,
    which names the key and never the value."""
    data: dict[object, object] = {}
    for field in ("data", "stringData"):
        values = document.get(field) or {}
        if not isinstance(values, dict):
            raise _invalid(ref, origin, f"{field} is not a mapping.")
        for key, value in values.items():
            if not isinstance(value, str):
                raise _invalid(ref, origin, f"{field}[{key!r}] is not a string; quote it.")
            data[key] = base64.b64encode(value.encode()).decode() if field == "stringData" else value
    return {**document, "data": data}


def _quote_it(value: object) -> str:
    match value:
        case bool():
            return f'a boolean; quote it, as in "{str(value).lower()}"'
        case int() | float():
            return f'the number {value}; quote it, as in "{value}"'
        case _:
            return f"{_article(value)}; it has to be a string"


_ARTICLES: Final[Mapping[type, str]] = {
    dict: "a mapping",
    list: "a list",
    NoneType: "empty",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    bytes: "binary data",
}


def _article(value: object) -> str:
    return _ARTICLES.get(type(value), "a date")


def _invalid(ref: Ref | None, origin: str, message: str) -> DecodeError:
    return DecodeError(Condition(about(ref), Reason.INVALID_OBJECT, message, origin=origin), ref)
