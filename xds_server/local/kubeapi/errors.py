"""Errors with the API server's texts. Each is a meta/v1 Status, which kubectl can print.

Reasons, codes and texts follow apimachinery's `api/errors` and `util/validation/field`, because clients
depend on reasons and codes, and people search for the texts.
"""

from collections.abc import Sequence
from http import HTTPStatus

from xds_server.base.errors import XdsShadowError
from xds_server.local.kubeapi.doc import Doc
from xds_server.local.kubeapi.resources import Resource

MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"

_CAUSES = {
    "Required value": "FieldValueRequired",
    "Duplicate value": "FieldValueDuplicate",
    "Unsupported value": "FieldValueNotSupported",
    "Not found": "FieldValueNotFound",
    "Forbidden": "FieldValueForbidden",
    "Too long": "FieldValueTooLong",
    "Too many": "FieldValueTooMany",
}


class StatusError(XdsShadowError):
    """The request fails, and the response is a Status."""

    def __init__(self, code: int, reason: str, message: str, *, details: Doc | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}

    def status(self) -> Doc:
        """The Status object, as sent."""
        doc: Doc = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": int(self.code),
        }
        return doc | {"details": self.details} if self.details else doc


def _about(resource: Resource, name: str) -> Doc:
    details = {"name": name, "group": resource.group, "kind": resource.plural}
    return {key: value for key, value in details.items() if value}


def not_found(resource: Resource, name: str) -> StatusError:
    """404: the object does not exist."""
    text = f'{resource.qualified} "{name}" not found'
    return StatusError(HTTPStatus.NOT_FOUND, "NotFound", text, details=_about(resource, name))


def no_such_path() -> StatusError:
    """404: the path is not served."""
    text = "the server could not find the requested resource"
    return StatusError(HTTPStatus.NOT_FOUND, "NotFound", text)


def already_exists(resource: Resource, name: str) -> StatusError:
    """409: the name already exists."""
    text = f'{resource.qualified} "{name}" already exists'
    return StatusError(HTTPStatus.CONFLICT, "AlreadyExists", text, details=_about(resource, name))


def conflict(resource: Resource, name: str, message: str = MODIFIED) -> StatusError:
    """409: the object has changed since the writer read it."""
    text = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {message}'
    return StatusError(HTTPStatus.CONFLICT, "Conflict", text, details=_about(resource, name))


def invalid(resource: Resource, name: str, causes: Sequence[tuple[str, str]]) -> StatusError:
    """422: the object is well-formed but invalid.

    `causes` are pairs of a field path and a message that begins with one of the API server's phrases:
    ``Required value``, ``Invalid value: "x": …``, ``Forbidden: …``.
    """
    texts = list(dict.fromkeys(f"{field}: {message}" for field, message in causes))
    detail = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    details: Doc = {
        "name": name,
        "group": resource.group,
        "kind": resource.kind,
        "causes": [
            {
                "reason": _CAUSES.get(message.partition(":")[0], "FieldValueInvalid"),
                "message": message,
                "field": field,
            }
            for field, message in causes
        ],
    }
    return StatusError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "Invalid",
        f'{resource.qualified_kind} "{name}" is invalid: {detail}',
        details={key: value for key, value in details.items() if value},
    )


def unprocessable(cause: str) -> StatusError:
    """422: the patch cannot be applied to this object."""
    text = "the server rejected our request due to an error in our request"
    causes = [{"reason": "UnexpectedServerResponse", "message": cause, "field": "patch"}]
    return StatusError(HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid", text, details={"causes": causes})


def bad_request(message: str) -> StatusError:
    """400: the request is malformed."""
    return StatusError(HTTPStatus.BAD_REQUEST, "BadRequest", message)


def invalid_options(kind: str, field: str, message: str) -> StatusError:
    """422: the parameters contradict each other; `kind` is, for example, ``ListOptions``."""
    return StatusError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "Invalid",
        f'{kind}.meta.k8s.io "" is invalid: {field}: {message}',
        details={
            "group": "meta.k8s.io",
            "kind": kind,
            "causes": [
                {
                    "reason": _CAUSES.get(message.partition(":")[0], "FieldValueInvalid"),
                    "message": message,
                    "field": field,
                }
            ],
        },
    )


def forbidden(resource: Resource, name: str, message: str, *, cause: Doc | None = None) -> StatusError:
    """403: the operation is not allowed on this object."""
    text = f'{resource.qualified} "{name}" is forbidden: {message}'
    details = _about(resource, name) | ({"causes": [cause]} if cause else {})
    return StatusError(HTTPStatus.FORBIDDEN, "Forbidden", text, details=details)


def gone(message: str) -> StatusError:
    """410: the requested version is no longer in the history."""
    return StatusError(HTTPStatus.GONE, "Expired", message)


def method_not_allowed() -> StatusError:
    """405: the resource does not support the verb."""
    text = "the server does not allow this method on the requested resource"
    return StatusError(HTTPStatus.METHOD_NOT_ALLOWED, "MethodNotAllowed", text)


def unsupported_media_type(given: str, accepted: Sequence[str]) -> StatusError:
    """415: the content type of the body is not supported."""
    text = f"the body of the request was in an unknown format{f' ({given})' if given else ''}"
    text += f" - accepted media types include: {', '.join(accepted)}"
    return StatusError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", text)


def not_acceptable(accepted: Sequence[str]) -> StatusError:
    """406: none of the accepted content types is supported."""
    text = f"only the following media types are accepted: {', '.join(accepted)}"
    return StatusError(HTTPStatus.NOT_ACCEPTABLE, "NotAcceptable", text)


def too_large(message: str) -> StatusError:
    """413: the body exceeds the limit."""
    return StatusError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "RequestEntityTooLarge", message)


def too_many(message: str) -> StatusError:
    """429: too many concurrent requests."""
    details = {"retryAfterSeconds": 1}
    return StatusError(HTTPStatus.TOO_MANY_REQUESTS, "TooManyRequests", message, details=details)


def from_the_future(version: int, current: int) -> StatusError:
    """504: the requested version is in the future."""
    return StatusError(
        HTTPStatus.GATEWAY_TIMEOUT,
        "Timeout",
        f"Too large resource version: {version}, current: {current}",
        details={
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        },
    )


def internal() -> StatusError:
    """500: a bug in this server. It is logged, and not sent to the client."""
    text = "Internal error occurred: see the server's log"
    return StatusError(HTTPStatus.INTERNAL_SERVER_ERROR, "InternalError", text)
