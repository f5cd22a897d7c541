"""The settings of one owner: a workload, its Namespace, or the installation.

A layer reads each setting once and keeps the result. It lives as long as its object, so the settings of a
Namespace are read once for all of its shadows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from xds_server.core.conditions import NO_SUBJECT, Subject
from xds_server.core.keys import PREFIX
from xds_server.core.rows import Row
from xds_server.core.values import PolicyError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Layer:
    """Settings by their names without prefix. `owner` completes "annotation x of …". `subject` is the object
    that has the settings, if it is an object. `credentials` is whether credentials may be sent to the Envoys
    of the installation."""

    owner: str
    values: Mapping[str, str]
    credentials: bool = True
    subject: Subject = NO_SUBJECT
    _found: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def read(self, row: Row[T]) -> T:
        """The value of a setting that is among `values`.

        Raises:
            PolicyError: the text is not valid; the error names the setting and its owner.
        """
        if row.name not in self._found:
            try:
                self._found[row.name] = row.read(self.values[row.name].strip())
            except PolicyError as error:
                self._found[row.name] = PolicyError(f"{self.called(row.name)}: {error}")
        found: Any = self._found[row.name]
        if isinstance(found, PolicyError):
            raise PolicyError(str(found))
        value: T = found
        return value

    def called(self, name: str) -> str:
        """The setting's name in messages."""
        return f"annotation {PREFIX}{name} of {self.owner}" if self.owner else f"annotation {PREFIX}{name}"


@dataclass(frozen=True, slots=True)
class PolicyFile(Layer):
    """The settings of the whole installation (``--policy``)."""

    def called(self, name: str) -> str:
        return f"{name} of {self.owner}" if self.owner else name


NO_FILE: Final = PolicyFile("the policy file", {})
