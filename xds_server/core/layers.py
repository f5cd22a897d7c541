"""Settings of one owner: a Deployment, its Namespace, or the installation.

Texts only; `policy` and `limits` understand them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from xds_server.core.conditions import NO_SUBJECT, Subject
from xds_server.core.keys import PREFIX


@dataclass(frozen=True, slots=True)
class Layer:
    """Settings by their names without prefix. `owner` completes "annotation x of …", and `subject` is the
    object that it is, if it is one. `credentials` says whether credentials may be sent to the Envoys of the
    installation."""

    owner: str
    values: Mapping[str, str]
    credentials: bool = True
    subject: Subject = NO_SUBJECT

    def __hash__(self) -> int:
        return hash((self.owner, frozenset(self.values.items())))

    def called(self, name: str) -> str:
        """The setting as its owner knows it."""
        return f"annotation {PREFIX}{name} of {self.owner}" if self.owner else f"annotation {PREFIX}{name}"


@dataclass(frozen=True, slots=True)
class PolicyFile(Layer):
    """What holds for the whole installation (``--policy``)."""

    __hash__ = Layer.__hash__

    def called(self, name: str) -> str:
        return f"{name} of {self.owner}"


NO_FILE: Final = PolicyFile("the policy file", {})
