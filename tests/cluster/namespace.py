"""The README's example in a namespace of its own: a stable Deployment, its Service, and a canary."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml

from tests.kubectl.client import Kubectl
from tests.support.installation import REPOSITORY
from tests.support.waiting import eventually

STABLE, CANARY, SERVICE = "myapp", "myapp-canary", "myapp"
MARK: Final = "xds-shadow.io/shadow-of"

_REQUESTS: Final = "http://127.0.0.1:10240/"
_PRE_STOP_S: Final = 3


@dataclass(frozen=True)
class Received:
    """Requests that the Pods of a Deployment have received."""

    total: int
    mirrored: int


@dataclass(frozen=True)
class Namespace:
    """`kubectl` is an administrator's, in this namespace."""

    name: str
    kubectl: Kubectl

    @property
    def host(self) -> str:
        """The Host header that the gateway routes to the Service."""
        return f"{SERVICE}.{self.name}"

    async def create(self) -> None:
        """Create the example and wait for its Pods."""
        await self.kubectl("apply", "-f", "-", stdin=_example(self.name))
        for deployment in (STABLE, CANARY):
            await self.rolled_out(deployment)

    async def rolled_out(self, deployment: str) -> None:
        """Wait until every Pod of a Deployment is of its last template and available."""
        await self.kubectl("rollout", "status", f"deployment/{deployment}")

    async def mark(self, service: str | None = SERVICE, *, with_kubectl: Kubectl | None = None) -> None:
        """Mark the canary, or remove its mark."""
        user = (with_kubectl or self.kubectl).within(self.name)
        await user(
            "label", "deployment", CANARY, "--overwrite", f"{MARK}={service}" if service else f"{MARK}-"
        )

    async def received(self, deployment: str, *, image: str = "") -> Received:
        """By all Pods of a Deployment so far, or by those of one image."""
        async with aiohttp.ClientSession() as session, session.get(_REQUESTS) as response:
            found: Mapping[str, dict[str, Any]] = json.loads(await response.text())
        start, hyphens = f"{self.name}/{deployment}-", deployment.count("-") + 2  # -REPLICASET-POD
        mine = [
            counts
            for pod, counts in found.items()
            if pod.startswith(start) and pod.removeprefix(f"{self.name}/").count("-") == hyphens
            if image in ("", counts["image"])
        ]
        return Received(sum(each["total"] for each in mine), sum(each["mirrored"] for each in mine))

    async def until_event(self, reason: str, *, count: int = 1) -> None:
        """Wait until Events with this reason have occurred `count` times."""

        async def there() -> bool:
            events = (await self.kubectl.get("events"))["items"]
            return sum(_occurrences(event) for event in events if event["reason"] == reason) >= count

        await eventually(there, what=f"{count} Events {reason} in {self.name}")


def _occurrences(event: dict[str, Any]) -> int:
    return int((event.get("series") or {}).get("count") or event.get("count") or 1)


def _example(namespace: str) -> list[dict[str, Any]]:
    documents = []
    for path in sorted((REPOSITORY / "manifests").glob("?-*.yaml")):
        documents += list(_documents(path))
    for document in documents:
        metadata = document["metadata"]
        metadata["name" if document["kind"] == "Namespace" else "namespace"] = namespace
        if document["kind"] == "Deployment":
            # The Pod serves until no Envoy sends it requests any more.
            for container in document["spec"]["template"]["spec"]["containers"]:
                container["lifecycle"] = {"preStop": {"sleep": {"seconds": _PRE_STOP_S}}}
    return documents


def _documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))
