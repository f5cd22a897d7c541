"""YAML for people: what they read, with a script as a block of lines and not as one quoted text; and what
they write in a small file that an option names.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from xds_server.base.errors import UsageError

if TYPE_CHECKING:
    from yaml import BaseLoader as _Loader
    from yaml import SafeDumper as _BaseDumper
else:
    _BaseDumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # three times as fast
    _Loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # every scalar is the text that it is written as

_WIDTH: Final = 110


class _TwiceError(Exception):
    """A mapping has a key twice, of which YAML's own rules would take either."""


class _Unique(_Loader):
    """Takes a key once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's
        scalars = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        seen: set[str] = set()
        for key in scalars:
            if key.value in seen:
                raise _TwiceError(f"{key.value}: it is there twice, again in line {key.start_mark.line + 1}")
            seen.add(key.value)
        return dict(super().construct_mapping(node, deep))


class _Dumper(_BaseDumper):
    pass


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def dumped(data: Any) -> str:
    """One document."""
    return str(yaml.dump(data, Dumper=_Dumper, sort_keys=False, width=_WIDTH))


def dumped_all(documents: Iterable[Any]) -> str:
    """Several documents."""
    return str(yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=_WIDTH))


def texts_of(path: Path, option: str, largest: int) -> Any:
    """What is in a file of at most so many bytes: texts as they are written, lists and mappings, or None.
    `option` names it in what is raised.

    Raises:
        UsageError: it cannot be read, is too large, is no YAML, or has a key twice.
    """
    try:
        raw = path.read_bytes()
        if len(raw) > largest:
            raise UsageError(f"{option}: it has {len(raw)} bytes, and {largest} are the most")
        return yaml.load(raw, Loader=_Unique)  # noqa: S506 - makes nothing but texts, lists and mappings
    except OSError as error:
        raise UsageError(f"{option}: {error.strerror or error}") from error
    except _TwiceError as error:
        raise UsageError(f"{option}: {error}; keep one") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"{option}: this is no YAML: {error}") from error
