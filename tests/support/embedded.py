"""The embedded Kubernetes API in the test's own loop, with a record of what was asked of it.

Every call that the control plane makes in the whole run is kept (`CALLS`), to be compared with the
permissions that the manifests grant.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from kubernetes.aio.client import ApiClient, Configuration

from xds_server.local.kubeapi.doc import Doc
from xds_server.local.kubeapi.kubeconfig import write_kubeconfig
from xds_server.local.kubeapi.resources import RESOURCES
from xds_server.local.kubeapi.server import Call, EmbeddedApi
from xds_server.local.kubeapi.store import Store

OURS = "xds-shadow/"
"""How the control plane's User-Agent begins."""

CALLS: set[Call] = set()


@dataclass(frozen=True)
class Embedded:
    """A running API. `connect` is for tests, which do what an administrator may."""

    api: EmbeddedApi
    store: Store
    calls: list[Call]

    @property
    def url(self) -> str:
        return self.api.url

    async def connect(self) -> ApiClient:
        return self._client("a test")

    def documents(self, plural: str) -> list[Doc]:
        """All objects of a kind."""
        [resource] = [each for each in RESOURCES if each.plural == plural]
        return [entry.doc for entry in self.store.list(resource).entries]

    def asked(self) -> list[Call]:
        """What the control plane asked for."""
        return [call for call in self.calls if call.user_agent.startswith(OURS)]

    def write_kubeconfig(self, path: Path) -> Path:
        write_kubeconfig(path, self.url)
        return path

    def _client(self, user_agent: str) -> ApiClient:
        configuration = Configuration(host=self.url)
        configuration.connection_pool_maxsize = 0
        configuration.client_session_kwargs = {"trust_env": False}
        client = ApiClient(configuration)
        client.user_agent = user_agent
        return client


@asynccontextmanager
async def embedded(store: Store | None = None) -> AsyncIterator[Embedded]:
    """An API on a port of the system's choice, by default an empty one in memory."""
    store = store or Store()
    calls: list[Call] = []

    def note(call: Call) -> None:
        calls.append(call)
        if call.user_agent.startswith(OURS):
            CALLS.add(call)

    async with EmbeddedApi(store, address=("127.0.0.1", 0), audit=note) as api:
        yield Embedded(api, store, calls)
