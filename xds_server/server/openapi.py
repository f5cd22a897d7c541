"""The OpenAPI document of the verdict API. The schemas are made of the messages of the status API, so they
cannot differ from what is sent."""

from functools import cache
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor

from xds_server.core.verdict.judgement import Verdict
from xds_server.pb import status_pb2

_TIMESTAMP: Final = "google.protobuf.Timestamp"
_TYPES: Final[dict[int, dict[str, Any]]] = {
    FieldDescriptor.CPPTYPE_STRING: {"type": "string"},
    FieldDescriptor.CPPTYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.CPPTYPE_DOUBLE: {"type": "number"},
    FieldDescriptor.CPPTYPE_UINT32: {"type": "integer", "minimum": 0},
    FieldDescriptor.CPPTYPE_UINT64: {"type": "integer", "minimum": 0},
}
_RESPONSES: Final = {
    "400": "A parameter is invalid.",
    "404": "There is no such shadow. The message has the most similar name.",
    "409": "Workloads of several kinds have the name.",
    "421": "The header Host is not a name of this server.",
    "429": "Too many requests are being answered.",
    "503": "The shadows are not known yet.",
}


@cache
def document() -> dict[str, Any]:
    """The document."""
    schemas: dict[str, Any] = {}
    _add(schemas, status_pb2.GetVerdictsResponse.DESCRIPTOR)
    schemas["Verdict"]["properties"]["verdict"]["enum"] = [each.value for each in Verdict]
    one = dict(schemas["Verdict"]["properties"])
    one["replicas"] = {"type": "array", "items": _reference("Replica")}
    required = [*schemas["Verdict"]["required"], "replicas"]
    schemas["VerdictOfOne"] = {"type": "object", "properties": one, "required": required}
    schemas["Error"] = {
        "type": "object",
        "properties": {"error": {"type": "string", "description": "One sentence."}},
        "required": ["error"],
    }
    schemas["FlaggerPayload"] = _payload()
    one_path = [_parameter(name, "path", text) for name, text in _NAMES.items()]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "xds-shadow verdicts",
            "version": "1",
            "description": "How canaries do, compared with the primary. Read-only.",
        },
        "paths": {
            "/api/v1/verdicts": {"get": _get("The verdicts on all shadows.", "GetVerdictsResponse", [])},
            "/api/v1/verdicts/{namespace}/{name}": {
                "get": _get("The verdict on one shadow.", "VerdictOfOne", [one_path[0], one_path[2]])
            },
            "/api/v1/verdicts/{namespace}/{kind}/{name}": {
                "get": _get("The verdict on one shadow, by its kind too.", "VerdictOfOne", one_path)
            },
            "/hooks/flagger": {"post": _hook()},
        },
        "components": {"schemas": schemas},
    }


_NAMES: Final = {
    "namespace": "Namespace of the workload.",
    "kind": "Kind of the workload, such as statefulset.",
    "name": "Name of the workload that is the canary.",
}
_QUERY: Final = {
    "alpha": "The chance that a canary that is no worse is ever called Worse: 0.001 or 0.1%.",
    "tolerance": "The share of requests by which a canary may fail more often and still be NoWorse.",
    "min-pairs": "The least number of pairs for NoWorse.",
}


def _reference(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _add(schemas: dict[str, Any], descriptor: Any) -> None:
    """Add the schema of a message, and those of the messages in it."""
    properties: dict[str, Any] = {}
    schemas[descriptor.name] = {"type": "object", "properties": properties}
    for field in descriptor.fields:
        properties[field.name] = _schema(schemas, field)
    schemas[descriptor.name]["required"] = [each.name for each in descriptor.fields if not each.has_presence]


def _schema(schemas: dict[str, Any], field: Any) -> dict[str, Any]:
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        return {"type": "object", "additionalProperties": _schema(schemas, kind.fields_by_name["value"])}
    if kind is None:
        one = dict(_TYPES[field.cpp_type])
    elif kind.full_name == _TIMESTAMP:
        one = {"type": "string", "format": "date-time"}
    else:
        if kind.name not in schemas:
            _add(schemas, kind)
        one = _reference(kind.name)
    return {"type": "array", "items": one} if field.is_repeated else one


def _parameter(name: str, where: str, text: str) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "in": where, "description": text, "schema": {"type": "string"}}
    return {**found, "required": True} if where == "path" else found


def _content(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": _reference(schema)}}


def _get(text: str, schema: str, path: list[dict[str, Any]]) -> dict[str, Any]:
    query = [_parameter(name, "query", meaning) for name, meaning in _QUERY.items()]
    errors = {
        code: {"description": meaning, "content": _content("Error")} for code, meaning in _RESPONSES.items()
    }
    return {
        "summary": text,
        "parameters": [*path, *query],
        "responses": {"200": {"description": text, "content": _content(schema)}, **errors},
    }


def _payload() -> dict[str, Any]:
    metadata: dict[str, dict[str, Any]] = {
        name: {"type": "string", "description": text} for name, text in _QUERY.items()
    }
    metadata |= {
        "name": {"type": "string", "description": "The workload, if the Canary has another name."},
        "kind": {"type": "string", "description": _NAMES["kind"]},
        "pass-unless-worse": {
            "type": "string",
            "enum": ["true", "false"],
            "description": "true: TooEarly and Blind pass too. For the webhook type rollout.",
        },
    }
    return {
        "type": "object",
        "description": "As Flagger sends it.",
        "properties": {
            "name": {"type": "string"},
            "namespace": {"type": "string"},
            "phase": {"type": "string"},
            "checksum": {"type": "string"},
            "metadata": {"type": ["object", "null"], "properties": metadata},
        },
        "required": ["name", "namespace"],
    }


def _hook() -> dict[str, Any]:
    text = {"text/plain": {"schema": {"type": "string"}}}
    answers = {
        "200": "The canary passes.",
        "408": "The body did not arrive in time.",
        "412": "The canary does not pass. The sentence says why.",
        "413": "The body is too large.",
        **_RESPONSES,
    }
    return {
        "summary": "Whether a canary passes, for a webhook of Flagger.",
        "requestBody": {"required": True, "content": _content("FlaggerPayload")},
        "responses": {code: {"description": meaning, "content": text} for code, meaning in answers.items()},
    }
