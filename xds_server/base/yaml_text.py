"""YAML for people: writes multi-line strings as blocks, and reads small files that options name."""

import stat
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from xds_server.base.errors import UsageError, YamlError
from xds_server.base.yaml_load import read_one

if TYPE_CHECKING:
    from yaml import SafeDumper as _BaseDumper
else:
    _BaseDumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # three times as fast

_WIDTH: Final = 110


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
    """The content of a file of at most `largest` bytes: strings as written, lists and mappings, or None.
    `option` is named in errors.

    Raises:
        UsageError: the file cannot be read, is too large, or is not valid YAML; a repeated key is not valid.
    """
    try:
        known = path.stat()
        # Reading a pipe may block forever, and a device may never end. (Reading a directory fails by itself.)
        if not (stat.S_ISREG(known.st_mode) or stat.S_ISDIR(known.st_mode)):
            raise UsageError(f"{option}: this is not a regular file")
        if known.st_size > largest:
            raise UsageError(f"{option}: it has {known.st_size} bytes, and {largest} are the most")
        return read_one(path.read_bytes(), texts=True)
    except OSError as error:
        raise UsageError(f"{option}: {error.strerror or error}") from error
    except YamlError as error:
        raise UsageError(f"{option}: this is not valid YAML: {error}") from error
