"""Encodes and decodes documents. Pure.

YAML is read as Kubernetes reads it, as another notation of JSON: no dates, no custom tags, and every key is a
string.
"""

from typing import Any

import msgspec
import yaml

from xds_server.base.errors import XdsShadowError, YamlError
from xds_server.base.yaml_load import read_one
from xds_server.local.kubeapi.doc import Doc


class UnreadableError(XdsShadowError):
    """The bytes are not a document; the message has the position."""


class _Dumper(yaml.CSafeDumper):
    """YAML without aliases. PyYAML would write one wherever a document contains the same object twice."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def read_json(data: bytes) -> Any:
    """Raises `UnreadableError`."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise UnreadableError(str(error)) from error


def read_yaml(data: bytes) -> Any:
    """One document. JSON is also YAML, but is parsed faster. Raises `UnreadableError`."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        pass
    try:
        return msgspec.json.decode(msgspec.json.encode(read_one(data)))
    except (YamlError, msgspec.MsgspecError, TypeError, ValueError) as error:
        raise UnreadableError(" ".join(str(error).split())) from error


def write_yaml(doc: Doc) -> bytes:
    """Keys keep their order in the document."""
    text: bytes = yaml.dump(doc, Dumper=_Dumper, sort_keys=False, allow_unicode=True, encoding="utf-8")
    return text
