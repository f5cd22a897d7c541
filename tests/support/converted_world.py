"""The world of all cases of `convert`: manifests with the printed lines applied, and one backend.

The backend is every Pod. Each Deployment has one Pod, with an address of the loopback network of its own;
the first port of every Service leads to one port there, the second to another. Who got a request is told by
the address it came to.
"""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.backends import TEST_ID
from tests.support.converted import Case, Edits, Object, Seen, typed
from tests.support.objects import Document

_END_OF_HEAD = b"\r\n\r\n"
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
_BLOCK = 250


@dataclass
class Everybody:
    """Which requests came to which address and port, by their test id. `shadow`: as mirrored ones."""

    ports: tuple[int, ...]
    live: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    shadow: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    count: int = 0


class _Answering(asyncio.Protocol):
    """Takes requests without bodies."""

    def __init__(self, seen: Everybody) -> None:
        self._seen = seen
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        host, port = transport.get_extra_info("sockname")
        self._at = (host, self._seen.ports.index(port))

    def data_received(self, data: bytes) -> None:
        *heads, self._held = (self._held + data).split(_END_OF_HEAD)
        for head in heads:
            said = dict(re.findall(r"\r\n([^:\r]+): ([^\r]*)", head.decode("latin-1").lower()))
            where = self._seen.shadow if "x-xds-shadow" in said else self._seen.live
            where.setdefault(said.get(TEST_ID, ""), []).append(self._at)
            self._seen.count += 1
            self._transport.write(_ANSWER)


@contextlib.asynccontextmanager
async def everybody() -> AsyncIterator[Everybody]:
    """Serve on two ports of every address."""
    loop = asyncio.get_running_loop()
    sockets = [socket.create_server(("0.0.0.0", 0)) for _ in range(2)]
    seen = Everybody(tuple(each.getsockname()[1] for each in sockets))
    servers = [await loop.create_server(lambda: _Answering(seen), sock=each) for each in sockets]
    try:
        yield seen
    finally:
        for server in servers:
            server.close()


class World:
    """All cases with what is printed for them."""

    def __init__(self, cases: Sequence[Case], ports: Sequence[int]) -> None:
        self.cases = cases
        self.edits = {case.name: typed(case.converted.lines) for case in cases}
        self._ports = ports
        deployments = [(case.name, *at) for case in cases for at in case.deployments]
        self._address = {each[1:]: _address(number) for number, each in enumerate(deployments)}
        self._at = {address: at for at, address in self._address.items()}

    def seen(self, at: tuple[str, int]) -> Seen:
        """Who has an address and a port."""
        namespace, deployment = self._at[at[0]]
        return Seen(namespace, deployment, at[1])

    def shadows(self) -> set[tuple[str, str]]:
        """Namespaces and names of the marked Deployments."""
        return {at[1:] for edits in self.edits.values() for at in edits.labels if at[0] == "Deployment"}

    def share(self, case: Case, shadow: tuple[str, str]) -> float:
        """Of a marked Deployment, in percent."""
        said = self.edits[case.name].annotations.get(("Deployment", *shadow), {})
        return float(said.get("xds-shadow.io/percent", 100))

    def manifests(self, case: Case) -> list[Document]:
        """The objects of a case, labelled and annotated."""
        edits = self.edits[case.name]
        found: list[Document] = [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
            for namespace in dict.fromkeys(namespace for namespace, _ in case.services)
        ]
        for at, spec in case.services.items():
            ports = [
                {**_plain(port), "targetPort": self._ports[number]}
                for number, port in enumerate(spec["ports"])
            ]
            found.append(_object("v1", ("Service", *at), edits, {**spec, "ports": ports}))
            found += self._slices(case, at, spec)
        for at, labels in case.deployments.items():
            found.append(
                _object("apps/v1", ("Deployment", *at), edits, {"selector": {"matchLabels": labels}})
            )
            found.append(self._pod(at, labels))
        return found

    def _slices(self, case: Case, at: tuple[str, str], spec: Mapping[str, Any]) -> list[Document]:
        behind = [
            each
            for each, labels in case.deployments.items()
            if each[0] == at[0] and spec["selector"].items() <= labels.items()
        ]
        ports = [
            {"name": port.get("name", ""), "port": self._ports[number]}
            for number, port in enumerate(spec["ports"])
        ]
        endpoints = [
            {
                "addresses": [self._address[each]],
                "conditions": {"ready": True},
                "targetRef": {"kind": "Pod", "name": each[1]},
            }
            for each in behind
        ]
        metadata = {"name": at[1], "namespace": at[0], "labels": {"kubernetes.io/service-name": at[1]}}
        return [
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": metadata,
                "addressType": "IPv4",
                "endpoints": endpoints,
                "ports": ports,
            }
        ]

    def _pod(self, at: tuple[str, str], labels: Mapping[str, str]) -> Document:
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": at[1], "namespace": at[0], "labels": dict(labels)},
            "spec": {"containers": [{"name": "app"}]},
            "status": {"podIP": self._address[at], "conditions": [{"type": "Ready", "status": "True"}]},
        }


def _plain(port: Mapping[str, Any]) -> Mapping[str, Any]:
    """Servers here speak HTTP/1, also at ports that say gRPC."""
    return {**port, "appProtocol": "http"} if port.get("name") == "grpc" else port


def _object(version: str, at: Object, edits: Edits, spec: Mapping[str, Any]) -> Document:
    kind, namespace, name = at
    metadata = {
        "name": name,
        "namespace": namespace,
        "labels": edits.labels.get(at, {}),
        "annotations": edits.annotations.get(at, {}),
    }
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": dict(spec)}


def _address(number: int) -> str:
    return f"127.77.{number // _BLOCK}.{number % _BLOCK + 1}"
