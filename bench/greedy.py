"""The objects of a tenant who asks for all that an API server stores: 4 MB of them in one namespace, of every
kind that an Envoy or the control plane multiplies, and changes of them without end.
"""

import json
from collections.abc import Iterator
from enum import StrEnum
from random import Random
from typing import Any, Final

from xds_server.core.keys import PREFIX

Document = dict[str, Any]

NAMESPACE: Final = "greedy"
BYTES: Final = 4_000_000


class Mix(StrEnum):
    """What the bytes are spent on. A namespace has one budget, which Services get before shadows do."""

    SERVICES = "services"
    SHADOWS = "shadows"


_KINDS: Final[dict[Mix, tuple[str, ...]]] = {
    Mix.SERVICES: ("endpoints", "hosts", "bodies"),
    Mix.SHADOWS: ("bodies", "conditions", "shares"),
}
_PORTS: Final = 40
_HOSTS: Final = 200
_SHADOWS: Final = 20
_ADDRESSES: Final = 1000
_HEADERS: Final = 32
_LITTLE: Final = {"max-body": "1Ki", "max-concurrent": "2"}
"""What a shadow says that would rather have others of its kind beside it than memory."""

_SERVICES_LABEL: Final = "kubernetes.io/service-name"


class Greedy:
    """`documents` are all; `uploads` are the hosts of Services whose canaries take whole bodies."""

    def __init__(self, mix: Mix, backend: str, canary: str, port: int, rng: Random) -> None:
        self.documents: list[Document] = []
        self.uploads: list[str] = []
        self._backend, self._canary, self._port = backend, canary, port
        self._rng = rng
        self._mix = mix
        self._bytes = 0
        self._fill()

    def change(self) -> Document:
        """One of the objects, which says something else from now on."""
        changed = [each for each in self.documents if each["kind"] != "Pod"]
        document = self._rng.choice(changed)
        number = self._rng.randrange(1, 100)
        match document["kind"]:
            case "Deployment":
                document["metadata"]["annotations"][f"{PREFIX}timeout"] = f"{number % 10 + 1}s"
            case "EndpointSlice":
                # The first is the one that answers, so the others move.
                first, *others = document["endpoints"]
                moved = {"addresses": [f"10.250.{number}.1"], "conditions": {"ready": True}}
                document["endpoints"] = [first, *others[1:], *([] if len(others) == 1 else [moved])]
            case "Namespace":
                document["metadata"]["annotations"][f"{PREFIX}timeout-max"] = f"{number + 10}s"
            case "Service":
                document["spec"]["ports"][0]["port"] = 10_000 + number
        return document

    def _fill(self) -> None:
        """Services of one kind after another, as long as there is room."""
        self._add(_object("v1", "Namespace", "", NAMESPACE, labels={f"{PREFIX}expose": "true"}))
        self._add(self._pod())
        number = 0
        while self._bytes < BYTES:
            for document in self._service(number):
                self._add(document)
            number += 1

    def _add(self, document: Document) -> None:
        self._bytes += len(json.dumps(document))
        if self._bytes <= BYTES:
            self.documents.append(document)

    def _service(self, number: int) -> Iterator[Document]:
        name = f"s{number:03}"
        kinds = _KINDS[self._mix]
        match kinds[number % len(kinds)]:
            case "endpoints":  # many ports, each with all of many endpoints
                ports = [(f"http-{each}", 80 + each) for each in range(_PORTS)]
                yield _service(name, ports, [])
                yield self._slice(name, [port for port, _ in ports], _ADDRESSES)
            case "conditions":  # many conditions, and large header changes
                yield from self._plain(name)
                for each in range(_SHADOWS):
                    yield _deployment(f"{name}-{each:02}", name, _conditions(each) | _headers() | _LITTLE)
            case "bodies":  # whole bodies to many canaries
                yield from self._plain(name)
                self.uploads.append(f"{name}.{NAMESPACE}")
                for each in range(_SHADOWS):
                    yield _deployment(f"{name}-{each:02}", name, {"max-body": "1Mi", "max-concurrent": "4"})
            case "shares":  # shares of requests, each of another size
                yield from self._plain(name)
                for each in range(_SHADOWS):
                    share = {"percent": f"{each + 1}", "sample": "correlated", **_LITTLE}
                    yield _deployment(f"{name}-{each:02}", name, share)
            case "hosts":  # many hosts of many ports
                ports = [(f"http-{each}", 80 + each) for each in range(_PORTS)]
                hosts = [f"h{each}.{name}.{NAMESPACE}.{'long' * 10}.example" for each in range(_HOSTS)]
                yield _service(name, ports, hosts)
                yield self._slice(name, [port for port, _ in ports], 1)

    def _plain(self, name: str) -> Iterator[Document]:
        yield _service(name, [("http", 80)], [])
        yield self._slice(name, ["http"], 1)

    def _slice(self, of: str, ports: list[str], addresses: int) -> Document:
        found = _object("discovery.k8s.io/v1", "EndpointSlice", NAMESPACE, f"{of}-0", {_SERVICES_LABEL: of})
        # The first answers; nobody asks the others.
        others = [f"10.{each >> 8}.{each & 255}.1" for each in range(1, addresses)]
        return {
            **found,
            "addressType": "IPv4",
            "endpoints": [
                {"addresses": [address], "conditions": {"ready": True}}
                for address in (self._backend, *others)
            ],
            "ports": [{"name": port, "port": self._port, "protocol": "TCP"} for port in ports],
        }

    def _pod(self) -> Document:
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        return {
            **_object("v1", "Pod", NAMESPACE, "next-1", {"app": "next"}),
            "spec": {"containers": [{"name": "main", "image": "backend"}]},
            "status": {"phase": "Running", "podIP": self._canary} | ready,
        }


def _conditions(number: int) -> dict[str, str]:
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    return {
        "methods": ",".join(methods[number % 3 : number % 3 + 2]),
        "paths": f"/p{number}",
        "headers": f"x-{number % 2}=a",
    }


def _headers() -> dict[str, str]:
    return {"set-headers": "\n".join(f"x-h{each}={'v' * 1000}" for each in range(_HEADERS))}


def _service(name: str, ports: list[tuple[str, int]], hosts: list[str]) -> Document:
    found = _object("v1", "Service", NAMESPACE, name)
    if hosts:
        found["metadata"]["annotations"][f"{PREFIX}hosts"] = ",".join(hosts)
    numbered = [{"name": port, "port": number, "protocol": "TCP"} for port, number in ports]
    return {**found, "spec": {"selector": {"app": name}, "ports": numbered}}


def _deployment(name: str, target: str, policy: dict[str, str]) -> Document:
    """It has no Pods of its own: it selects the one that all have."""
    found = _object("apps/v1", "Deployment", NAMESPACE, name, {f"{PREFIX}shadow-of": target})
    found["metadata"]["annotations"] = {f"{PREFIX}{key}": value for key, value in policy.items()}
    selector = {"app": "next"}
    template = {
        "metadata": {"labels": selector},
        "spec": {"containers": [{"name": "main", "image": "backend"}]},
    }
    return {**found, "spec": {"replicas": 0, "selector": {"matchLabels": selector}, "template": template}}


def _object(
    version: str, kind: str, namespace: str, name: str, labels: dict[str, str] | None = None
) -> Document:
    metadata: Document = {
        "name": name,
        "uid": f"{kind}-{name}",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": labels or {},
        "annotations": {},
    }
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": version, "kind": kind, "metadata": metadata}
