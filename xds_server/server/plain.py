"""Messages of the status API as plain data, for JSON and YAML."""

from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from xds_server.pb import status_pb2

_LONG: Final = (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64)


def with_numbers(message: Message) -> dict[str, Any]:
    """As `as_data`, but counts are numbers: JSON's own form of a 64-bit integer is a string."""
    return _numbers(message.DESCRIPTOR, as_data(message))


def one_verdict(found: status_pb2.GetVerdictsResponse) -> dict[str, Any]:
    """The only verdict of a response, with the replicas that were asked, so that ``.verdict`` finds it."""
    data = with_numbers(found)
    return {**data["verdicts"][0], "replicas": data["replicas"]}


def _numbers(descriptor: Any, data: dict[str, Any]) -> dict[str, Any]:
    return {name: _number(descriptor.fields_by_name[name], value) for name, value in data.items()}


def _number(field: Any, value: Any) -> Any:
    if isinstance(value, list):
        return [_number(field, each) for each in value]
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        of_values = kind.fields_by_name["value"]
        return {key: _number(of_values, each) for key, each in value.items()}
    if isinstance(value, dict):
        return _numbers(kind, value)
    return int(value) if field.cpp_type in _LONG else value


def as_data(message: Message) -> dict[str, Any]:
    """The message with the field names of the .proto file, including empty lists and zeros."""
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
