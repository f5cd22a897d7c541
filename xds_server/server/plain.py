"""Messages of the status API as plain data, for JSON and YAML."""

from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message


def as_data(message: Message) -> dict[str, Any]:
    """The message with the field names of the .proto file, including empty lists and zeros."""
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
