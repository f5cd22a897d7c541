"""Real Envoys with a Service behind them, whose canary is of a chosen kind and has chosen annotations."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml

from bench.policy.backend import Kind
from xds_server.base.address import Address
from xds_server.local.demo.control_plane import ControlPlane
from xds_server.local.demo.envoy import Envoy
from xds_server.local.demo.fleet import reserved_ports
from xds_server.local.demo.processes import Process
from xds_server.server.status_client import get_status
from xds_server.translate.bootstrap import BootstrapOptions
from xds_server.translate.node_metadata import ACCESS_LOGS
from xds_server.xds.stream_events import Variant

HOST: Final = "myapp.staging"
SHADOW: Final = "cluster.staging/myapp/http/shadow/canary."
_LABEL: Final = "xds-shadow.io/"
_BENCH, _SILENT = "bench", "silent"
Document = dict[str, Any]


@dataclass
class Stage:
    """`envoy` serves `HOST` at its gateway port; `annotate` gives the canary its annotations. `silent` is the
    same, and does not log requests to the control plane. The backends are at the ports `stable` and
    `canary`."""

    envoy: Envoy
    silent: Envoy
    stable: int
    canary: int
    _control_plane: ControlPlane
    _manifests: Path

    async def annotate(self, annotations: dict[str, str], *secrets: Document) -> None:
        """Wait until Envoy has what follows from these annotations of the canary, by their short names; its
        shadow cluster is a new one.

        Raises:
            XdsShadowError: it did not, within half a minute.
        """
        await self._set({"paused": "true"}, "Paused")
        if annotations.get("paused") != "true":
            await self._set(annotations, "Active", *secrets)

    async def _set(self, annotations: dict[str, str], state: str, *secrets: Document) -> None:
        documents = _documents(self.stable, self.canary, annotations)
        part = self._manifests / ".all.part"
        part.write_text(yaml.safe_dump_all([*documents, *secrets]))
        part.replace(self._manifests / "all.yaml")
        await self.envoy.process.until(partial(self._has, state), what=f"a shadow that is {state}")

    async def _has(self, state: str) -> bool:
        status = await asyncio.to_thread(get_status, self._control_plane.admin_address)
        kinds = [kind for node in status.nodes for kind in node.types]
        return (
            [shadow.state for shadow in status.shadows] == [state]
            and bool(kinds)
            and all(kind.sync == "SYNCED" for kind in kinds)
            and {"CDS", "VHDS"}
            <= {k.short_name for k in kinds if k.sent_version == status.server.versions[k.short_name]}
        )


@contextlib.asynccontextmanager
async def stage(directory: Path, canary: Kind) -> AsyncIterator[Stage]:
    """Start everything; end it all afterwards."""
    manifests = directory / "manifests"
    manifests.mkdir()
    async with contextlib.AsyncExitStack() as stack:
        ports = []
        for name, kind in (("stable", Kind.GOOD), ("canary", canary)):
            ports.append(await stack.enter_async_context(backend(kind, directory / f"{name}.port")))
        source = [f"--manifests={manifests}", "--plaintext-credentials"]
        control_plane = ControlPlane(source, directory)
        stack.push_async_callback(control_plane.stop)
        await control_plane.start()
        found = []
        for name, port in zip((_BENCH, _SILENT), stack.enter_context(reserved_ports(2)), strict=True):
            envoy = _envoy(name, port, control_plane.xds_address, directory)
            stack.push_async_callback(envoy.stop)
            await envoy.start()
            await envoy.until_serving()
            found.append(envoy)
        yield Stage(found[0], found[1], ports[0], ports[1], control_plane, manifests)


def _envoy(name: str, port: int, xds: Address, directory: Path) -> Envoy:
    options = BootstrapOptions(
        node_id=name, mode=Variant.DELTA, xds_address=xds, admin_port=0, gateway_port=port
    )
    envoy = Envoy(options, directory)
    if name == _SILENT:
        _silence(directory / f"{name}.yaml")
    return envoy


def _silence(bootstrap: Path) -> None:
    """Remove the permission to configure a log."""
    found = yaml.safe_load(bootstrap.read_text())
    found["node"]["metadata"].pop(ACCESS_LOGS, None)
    bootstrap.write_text(yaml.safe_dump(found))


@contextlib.asynccontextmanager
async def backend(kind: Kind, file: Path) -> AsyncIterator[int]:
    """A backend of this kind; gives its port, which is in the file too."""

    async def listens() -> bool:
        return file.exists()  # noqa: ASYNC240 - of a file in memory

    command = (sys.executable, "-m", "bench.policy.backend", kind.value, str(file))
    process = Process(f"a backend that is of the kind {kind}", command, file.with_suffix(".log"))
    try:
        await process.start()
        await process.until(listens, what="listening")
        yield int(file.read_text())  # noqa: ASYNC240
    finally:
        await process.stop()


def secret(name: str, key: str, value: str) -> Document:
    """A Secret that may be used."""
    found = _object("v1", "Secret", name)
    found["metadata"]["labels"] = {f"{_LABEL}allow": "true"}
    return {**found, "stringData": {key: value}}


def _documents(stable: int, canary: int, annotations: dict[str, str]) -> list[Document]:
    namespace = _object("v1", "Namespace", "staging")
    namespace["metadata"] = {"name": "staging", "labels": {f"{_LABEL}expose": "true"}}
    service = _object("v1", "Service", "myapp")
    service["spec"] = {"ports": [{"name": "http", "port": 80, "targetPort": "http"}]}
    addresses = _object("discovery.k8s.io/v1", "EndpointSlice", "myapp-1")
    addresses["metadata"]["labels"] = {"kubernetes.io/service-name": "myapp"}
    addresses |= {
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": stable}],
        "endpoints": [{"addresses": ["127.0.0.1"]}],
    }
    deployment = _object("apps/v1", "Deployment", "canary")
    deployment["metadata"] |= {
        "labels": {f"{_LABEL}shadow-of": "myapp"},
        "annotations": {f"{_LABEL}{name}": value for name, value in annotations.items()},
    }
    deployment["spec"] = {"selector": {"matchLabels": {"app": "canary"}}}
    pod = _object("v1", "Pod", "canary-1")
    pod["metadata"]["labels"] = {"app": "canary"}
    pod["spec"] = {"containers": [{"name": "a", "ports": [{"name": "http", "containerPort": canary}]}]}
    pod["status"] = {"podIP": "127.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}
    return [namespace, service, addresses, deployment, pod]


def _object(version: str, kind: str, name: str) -> Document:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "staging"}}
