"""YAML as people read it: keys as they come, and a script as a block of lines, not as one quoted text."""

from collections.abc import Iterable
from typing import Any, Final

import yaml

_WIDTH: Final = 110


class _Dumper(yaml.SafeDumper):
    pass


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def dumped(data: Any) -> str:
    """One document."""
    return str(yaml.dump(data, Dumper=_Dumper, sort_keys=False, width=_WIDTH))


def dumped_all(documents: Iterable[Any]) -> str:
    """Several documents."""
    return str(yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=_WIDTH))
