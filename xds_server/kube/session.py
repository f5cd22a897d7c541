"""Sessions with an API server, opened from a kubeconfig or inside a cluster, and renewed when credentials
expire.

The official client does kubeconfig, exec plugins, service account tokens, TLS and proxies. Nothing here sends
a request, and nothing logs a credential.
"""

import asyncio
import hashlib
import math
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import structlog
import yaml
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from xds_server.base.errors import SourceError

Connect = Callable[[], Awaitable[ApiClient]]
"""Opens a session with fresh credentials. Raises `SourceError`."""

_SHAPE_ERRORS = (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError)
"""The exceptions for a malformed kubeconfig: the client does not validate it."""

_LOG_EVERY_S = 60.0
"""The minimum time between log lines about renewal: rejected credentials usually stay rejected."""

_log = structlog.stdlib.get_logger(__name__)


async def connect(kubeconfig: Path | None = None, context: str | None = None) -> ApiClient:
    """Open a session with the given kubeconfig, else with the service account of the Pod, else with the
    user's own kubeconfig as kubectl finds it. The caller closes it. Raises `SourceError`."""
    configuration: Any = Configuration()
    # The default is 100, and every watch holds a connection: one more would wait forever.
    configuration.connection_pool_maxsize = 0
    in_cluster = kubeconfig is None and context is None and "KUBERNETES_SERVICE_HOST" in os.environ
    try:
        if in_cluster:
            load: Any = config.load_incluster_config
            load(configuration)
        else:
            await _load_kubeconfig(configuration, kubeconfig, context)
        client = ApiClient(configuration)
    except (config.ConfigException, OSError) as error:
        which = "the Pod's service account" if in_cluster else f"kubeconfig {kubeconfig or _default()}"
        raise SourceError(f"Cannot connect to Kubernetes with {which}: {error}") from error
    except _SHAPE_ERRORS as error:
        raise SourceError(f"{kubeconfig or _default()} is not a valid kubeconfig ({error})") from error
    client.user_agent = f"xds-shadow/{version('xds-shadow')}"
    return client


async def _load_kubeconfig(configuration: Any, kubeconfig: Path | None, context: str | None) -> None:
    places = str(kubeconfig) if kubeconfig else _default()
    if not _any_exists(places):
        raise SourceError(
            f"There is no kubeconfig at {places}; name one with --kubeconfig, or run inside a cluster "
            "with a service account"
        )
    # `persist_config` would write refreshed tokens into a file that is not ours.
    load: Any = config.load_kube_config
    await load(places, context, configuration, persist_config=False)


def _any_exists(places: str) -> bool:
    return any(Path(place).expanduser().exists() for place in places.split(os.pathsep) if place)


def _default() -> str:
    return os.environ.get("KUBECONFIG") or "~/.kube/config"


class Session:
    """A client that is closed when it is retired and its last request has ended. `credentials` is equal for
    sessions with the same credentials."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self.credentials = _digest(client.configuration)
        self._users = 0
        self._retired = False

    @asynccontextmanager
    async def use(self) -> AsyncIterator[ApiClient]:
        """The client, for one request and all of its response."""
        self._users += 1
        try:
            yield self._client
        finally:
            self._users -= 1
            await self._close_if_done()

    async def retire(self) -> None:
        """Start no more requests on it. Open watches end by themselves."""
        self._retired = True
        await self._close_if_done()

    async def _close_if_done(self) -> None:
        if self._retired and not self._users:
            await self._client.close()  # type: ignore[no-untyped-call]  # the client is partly typed


class Sessions:
    """The session in use. All watches share it, so that expired credentials are loaded once."""

    def __init__(
        self, connect: Connect, client: ApiClient, renew_after: float, clock: Callable[[], float]
    ) -> None:
        self._connect = connect
        self._renew_after = renew_after
        self._clock = clock
        self._renewing = asyncio.Lock()
        self._tried = self._clock()
        self._logged = -math.inf
        self.current = Session(client)
        self.server: str = client.configuration.host

    @classmethod
    async def open(
        cls, connect: Connect, renew_after: float, clock: Callable[[], float] = time.monotonic
    ) -> "Sessions":
        """Raises `SourceError`."""
        client = await connect()
        sessions = cls(connect, client, renew_after, clock)
        _log.info("Kubernetes session configured", server=sessions.server)
        return sessions

    async def renew(self, rejected: Session) -> bool:
        """Load credentials again, at most once in `renew_after` seconds: wrong credentials stay wrong, and
        exec plugins are slow. Returns whether the credentials now differ from those of `rejected`."""
        async with self._renewing:
            if self.current is rejected and self._clock() - self._tried >= self._renew_after:
                self._tried = self._clock()
                try:
                    session = Session(await self._connect())
                except SourceError as error:
                    if self._may_log():
                        _log.warning("credential renewal failed", error=str(error))
                    return False
                if session.credentials == rejected.credentials:
                    await session.retire()
                    return False
                self.current = session
                await rejected.retire()
                if self._may_log():
                    _log.info("credentials renewed")
        return self.current is not rejected

    def _may_log(self) -> bool:
        now = self._clock()
        if now - self._logged < _LOG_EVERY_S:
            return False
        self._logged = now
        return True

    async def close(self) -> None:
        """Close the session in use. All requests on it have ended."""
        await self.current.retire()


def _digest(configuration: Any) -> bytes:
    """A digest of everything that identifies the server and the client. Files count by their content."""
    digest = hashlib.blake2b(digest_size=16)
    files = (configuration.ssl_ca_cert, configuration.cert_file, configuration.key_file)
    for part in (
        configuration.host,
        configuration.username,
        configuration.password,
        *sorted(configuration.api_key.items()),
        *map(_content, files),
    ):
        digest.update(repr(part).encode())
    return digest.digest()


def _content(path: str | None) -> bytes:
    try:
        return Path(path).read_bytes() if path else b""
    except OSError:
        return b""
