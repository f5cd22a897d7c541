"""Maps a client certificate to the namespaces that the client may see (``--tls-clients``).

`node`, which an Envoy sends itself, can narrow these namespaces. It does not prove an identity; the
certificate does.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from xds_server.base.errors import RequestDeniedError, UsageError
from xds_server.base.sizes import MIB
from xds_server.base.text import plain
from xds_server.base.yaml_text import texts_of

Allowed = Mapping[str, frozenset[str] | None]
"""Namespaces by the names in certificates. None stands for all namespaces."""

ALL: Final = "*"
_LARGEST: Final = MIB
_NAMES: Final = ("peer_uri", "peer_dns")
"""The keys of a certificate's subject alternative names in gRPC's auth context: URIs, such as SPIFFE IDs, and
DNS names."""

_SHOWN: Final = 200


def names_of(auth_context: Mapping[str, Iterable[bytes]]) -> frozenset[str]:
    """The names in a client's certificate. The set is empty without TLS."""
    return frozenset(name.decode(errors="replace") for kind in _NAMES for name in auth_context.get(kind, ()))


class Clients:
    """The clients that may connect. Without `allowed`, every valid certificate may see all namespaces."""

    def __init__(self, allowed: Allowed | None = None) -> None:
        self._allowed = allowed

    def namespaces(self, names: Iterable[str]) -> frozenset[str] | None:
        """The namespaces that a client with these names may see: the union over its names. None: all.

        Raises:
            RequestDeniedError: no name is listed.
        """
        if self._allowed is None:
            return None
        known = [self._allowed[name] for name in names if name in self._allowed]
        if not known:
            shown = ", ".join(plain(name, _SHOWN) for name in sorted(names)) or "no name"
            raise RequestDeniedError(f"the certificate's names ({shown}) are not listed in --tls-clients")
        found: set[str] = set()
        for each in known:
            if each is None:
                return None
            found |= each
        return frozenset(found)


ANY_CLIENT: Final = Clients()


def read_clients(path: Path | None) -> Allowed | None:
    """Read the file of ``--tls-clients``, which maps the URI or DNS name in a certificate to a list of
    namespaces, or to ``*`` for all.

    Raises:
        UsageError: the file is invalid. The message has its path and the entry.
    """
    if path is None:
        return None
    option = f"--tls-clients {path}"
    found = texts_of(path, option, _LARGEST)
    if not isinstance(found, dict) or not found:
        raise UsageError(
            f"{option}: the file must map clients to namespaces, such as spiffe://example/gateway: [staging]"
        )
    return {_name(option, name): _namespaces(option, name, listed) for name, listed in found.items()}


def _name(option: str, name: object) -> str:
    if not isinstance(name, str) or not name:
        raise UsageError(f"{option}: {name!r} is not a name in a certificate")
    return name


def _namespaces(option: str, name: object, listed: object) -> frozenset[str] | None:
    if listed in (ALL, [ALL]):
        return None
    found = [listed] if isinstance(listed, str) else listed
    if not isinstance(found, list) or not found or not all(isinstance(each, str) and each for each in found):
        raise UsageError(f'{option}: {name}: the value must be a list of namespaces, or "*" for all')
    if ALL in found:
        raise UsageError(f'{option}: {name}: "*" means all namespaces and cannot be combined with others')
    return frozenset(found)
