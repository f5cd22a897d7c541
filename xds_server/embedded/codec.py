"""Documents as bytes. Pure.

YAML is read as Kubernetes reads it, as another way to write JSON: no dates, no tags of one's own, every key a
text. Aliases are refused, since a few lines of them may stand for gigabytes.
"""

from typing import Any, Final

import msgspec
import yaml

from xds_server.base.errors import XdsShadowError
from xds_server.embedded.doc import Doc

_DEEPEST: Final = 200
"""libyaml's composer recurses without a limit of its own."""


class UnreadableError(XdsShadowError):
    """The bytes are not a document; the text says where they stop being one."""


class _Dumper(yaml.CSafeDumper):
    """YAML without aliases, which would stand wherever a document shares a part with itself."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


class _Loader(yaml.CSafeLoader):
    """YAML whose dates are texts, as JSON has no dates."""


def _as_text(loader: _Loader, node: yaml.ScalarNode) -> object:
    return loader.construct_scalar(node)


_Loader.add_constructor("tag:yaml.org,2002:timestamp", _as_text)


def read_json(data: bytes) -> Any:
    """Raises `UnreadableError`."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise UnreadableError(str(error)) from error


def read_yaml(data: bytes) -> Any:
    """One document; JSON is YAML too, and is read faster. Raises `UnreadableError`."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        pass
    try:
        _check_events(data)
        value = yaml.load(data, _Loader)  # noqa: S506  a SafeLoader
        return msgspec.json.decode(msgspec.json.encode(value))
    except (
        yaml.YAMLError,
        msgspec.MsgspecError,
        TypeError,
        ValueError,
        LookupError,
        RecursionError,
    ) as error:
        raise UnreadableError(" ".join(str(error).split())) from error


def write_yaml(doc: Doc) -> bytes:
    """In the order of the document's keys."""
    text: bytes = yaml.dump(doc, Dumper=_Dumper, sort_keys=False, allow_unicode=True, encoding="utf-8")
    return text


def _check_events(data: bytes) -> None:
    depth = 0
    for event in yaml.parse(data, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise UnreadableError(f"aliases are not read{event.start_mark}")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise UnreadableError(f"nested too deep{event.start_mark}")
