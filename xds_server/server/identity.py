"""Who a client is by its certificate, and which namespaces it may see (``--tls-clients``).

What an Envoy says of itself in `node` limits it, and proves nothing; a certificate does.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from xds_server.base.errors import RequestDeniedError, UsageError
from xds_server.base.sizes import MIB
from xds_server.base.text import plain
from xds_server.base.yaml_text import texts_of

Allowed = Mapping[str, frozenset[str] | None]
"""Namespaces by the names of certificates; None is all."""

ALL: Final = "*"
_LARGEST: Final = MIB
_NAMES: Final = ("peer_uri", "peer_dns")
"""gRPC's words for a certificate's subject alternative names: SPIFFE IDs among the URIs, and DNS names."""

_SHOWN: Final = 200


def names_of(auth_context: Mapping[str, Iterable[bytes]]) -> frozenset[str]:
    """The names in the certificate of a client; none without TLS."""
    return frozenset(name.decode(errors="replace") for kind in _NAMES for name in auth_context.get(kind, ()))


class Clients:
    """Who may connect; None: whoever has a certificate, and sees everything."""

    def __init__(self, allowed: Allowed | None = None) -> None:
        self._allowed = allowed

    def namespaces(self, names: Iterable[str]) -> frozenset[str] | None:
        """What a client with these names may see: all that any of them may; None is everything.

        Raises:
            RequestDeniedError: none of them is listed.
        """
        if self._allowed is None:
            return None
        known = [self._allowed[name] for name in names if name in self._allowed]
        if not known:
            shown = ", ".join(plain(name, _SHOWN) for name in sorted(names)) or "no name"
            raise RequestDeniedError(
                f"the certificate's names ({shown}) are not among those of --tls-clients"
            )
        found: set[str] = set()
        for each in known:
            if each is None:
                return None
            found |= each
        return frozenset(found)


def read_clients(path: Path | None) -> Allowed | None:
    """The file: a mapping of a certificate's URI or DNS name to namespaces, or to ``*`` for all of them.

    Raises:
        UsageError: it cannot be read; file and name are told.
    """
    if path is None:
        return None
    option = f"--tls-clients {path}"
    found = texts_of(path, option, _LARGEST)
    if not isinstance(found, dict) or not found:
        raise UsageError(
            f"{option}: write a line for each client, such as spiffe://example/gateway: [staging]"
        )
    return {_name(option, name): _namespaces(option, name, listed) for name, listed in found.items()}


def _name(option: str, name: object) -> str:
    if not isinstance(name, str) or not name:
        raise UsageError(f"{option}: {name!r} is no name of a certificate")
    return name


def _namespaces(option: str, name: object, listed: object) -> frozenset[str] | None:
    if listed in (ALL, [ALL]):
        return None
    found = [listed] if isinstance(listed, str) else listed
    if not isinstance(found, list) or not found or not all(isinstance(each, str) and each for each in found):
        raise UsageError(f'{option}: {name}: write its namespaces as a list, or "*" for all')
    if ALL in found:
        raise UsageError(f'{option}: {name}: "*" stands for all namespaces, and goes with no other')
    return frozenset(found)
