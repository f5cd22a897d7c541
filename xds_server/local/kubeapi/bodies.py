"""Bodies of requests and responses: which content types are read, and how responses are written."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from aiohttp import web

from xds_server.local.kubeapi import codec, protobuf
from xds_server.local.kubeapi.doc import Doc
from xds_server.local.kubeapi.errors import StatusError, bad_request, too_large, unsupported_media_type

JSON: Final = "application/json"
YAML: Final = "application/yaml"
JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH: Final = "application/strategic-merge-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"

OBJECTS: Final = (JSON, YAML, protobuf.CONTENT_TYPE)
PATCHES: Final = (JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, APPLY_PATCH)

_LONGEST_WARNING: Final = 256
_NOT_OF_PAGES: Final = ("PUT", "DELETE")
"""Methods for which a browser sends a CORS preflight to another origin (the Fetch standard)."""

LIMIT: Final = 3 << 20
"""The most bytes of a request's body, as in the API server."""

_READ: Final[Mapping[str, Callable[[bytes], Any]]] = {
    YAML: codec.read_yaml,
    APPLY_PATCH: codec.read_yaml,
    protobuf.CONTENT_TYPE: protobuf.read,
}


async def read(request: web.Request, accepted: Sequence[str]) -> tuple[str, Any]:
    """The body's content type and value. Raises 400, 413 and 415.

    A POST must have a content type: a web page can send a POST to another origin without one, or with that of
    a form. Other methods may omit it; `kubectl scale` does.
    """
    given = request.headers.get("Content-Type", JSON if request.method in _NOT_OF_PAGES else "")
    kind = given.partition(";")[0].strip().lower()
    if kind not in accepted:
        raise unsupported_media_type(given, accepted)
    try:
        data = await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise too_large(f"Request entity too large: limit is {LIMIT}") from error
    try:
        return kind, _READ.get(kind, codec.read_json)(data)
    except codec.UnreadableError as error:
        raise bad_request(f"the request's body cannot be read: {error}") from error


async def read_object(request: web.Request) -> Doc:
    """The body as an object. Raises like `read`."""
    _, value = await read(request, OBJECTS)
    return _an_object(value)


async def read_patch(request: web.Request) -> tuple[str, Any]:
    """A patch and its content type. A JSON patch is a list; all others are objects. Raises like `read`."""
    kind, value = await read(request, PATCHES)
    if kind == JSON_PATCH and not isinstance(value, list):
        raise bad_request("a JSON patch is an array of operations")
    return kind, value if kind == JSON_PATCH else _an_object(value)


async def read_delete_options(request: web.Request) -> Doc:
    """The body of a DELETE, which is optional. Raises like `read`."""
    return await read_object(request) if request.can_read_body else {}


def answer(
    body: bytes, status: int = 200, content_type: str = JSON, warnings: Sequence[str] = ()
) -> web.Response:
    """A response of encoded bytes. kubectl prints the warnings."""
    response = web.Response(body=body, status=status, headers={"Content-Type": content_type})
    for each in warnings:
        # Quoted as in RFC 7234. Client input may have characters that a header must not have.
        response.headers.add("Warning", f"299 - {json.dumps(each[:_LONGEST_WARNING])}")
    return response


def document(doc: Doc, content_type: str = JSON) -> web.Response:
    """A response of one document."""
    return answer(msgspec.json.encode(doc), content_type=content_type)


def error_response(error: StatusError) -> web.Response:
    """An error as a Status."""
    response = answer(msgspec.json.encode(error.status()), int(error.code))
    if seconds := error.details.get("retryAfterSeconds"):
        response.headers["Retry-After"] = str(seconds)
    return response


def _an_object(value: object) -> Doc:
    if not isinstance(value, dict):
        raise bad_request("the request's body is not an object")
    return value
