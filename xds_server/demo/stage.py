"""The demo's manifests: the user's four files, and beside them what a cluster would add by itself: the
addresses of the Pods, as EndpointSlices and Pods.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from xds_server.base.address import Address
from xds_server.base.errors import UsageError
from xds_server.model.objects import PREFIX
from xds_server.model.world import SHADOW_OF

NAMESPACE = "staging"
SERVICE = "myapp"
CANARY = "myapp-canary"
HOST = f"{SERVICE}.{NAMESPACE}"
CANARY_FILE = "4-canary.yaml"
PERCENT = PREFIX + "percent"


LOCAL_MANIFESTS = Path("manifests")
"""In a checkout: where the user edits."""


def example_manifests() -> Path:
    """The directory of the example: in a checkout ``manifests/``, in an installed package a copy of it."""
    packaged = Path(__file__).with_name("manifests")
    return packaged if packaged.exists() else Path(__file__).parents[2] / "manifests"


class Stage:
    """A working copy of the manifests, or with `edit_in_place` themselves; and a directory of addresses."""

    def __init__(self, manifests: Path, directory: Path, *, edit_in_place: bool) -> None:
        if not (manifests / CANARY_FILE).exists():
            raise UsageError(
                f"--manifests: {manifests} has no {CANARY_FILE}; give the directory of the example"
            )
        self.manifests = manifests if edit_in_place else directory / "manifests"
        if not edit_in_place:
            self.manifests.mkdir()
            for file in sorted(manifests.glob("*.yaml")):
                shutil.copy(file, self.manifests)
        self.addresses = directory / "addresses"
        self.addresses.mkdir()

    @property
    def directories(self) -> list[Path]:
        """What the control plane reads."""
        return [self.manifests, self.addresses]

    def set_addresses(self, stable: Sequence[Address], canary: Sequence[Address]) -> None:
        """Say where the Pods are."""
        documents = [endpoint_slice(f"{SERVICE}-{a.port}", SERVICE, a) for a in stable]
        documents += [pod(f"{CANARY}-{a.port}", {"app": CANARY}, a) for a in canary]
        write_documents(self.addresses / "addresses.yaml", documents)

    def label(self) -> None:
        """``kubectl label deployment myapp-canary xds-shadow.io/shadow-of=myapp``, as an edit."""
        self._edit("labels", SHADOW_OF, SERVICE)

    def unlabel(self) -> None:
        """Remove that label."""
        self._edit("labels", SHADOW_OF, None)

    def annotate_percent(self, percent: str) -> None:
        """``kubectl annotate deployment myapp-canary xds-shadow.io/percent=…``, as an edit."""
        self._edit("annotations", PERCENT, percent)

    def _edit(self, section: str, key: str, value: str | None) -> None:
        path = self.manifests / CANARY_FILE
        documents = list(yaml.safe_load_all(path.read_text()))
        for document in documents:
            entries = dict(document["metadata"].get(section) or {})
            entries.pop(key, None)
            if value is not None:
                entries[key] = value
            document["metadata"][section] = entries
        write_documents(path, documents)


def endpoint_slice(name: str, service: str, address: Address) -> dict[str, Any]:
    """What the endpoint controller would write for one ready Pod of a Service's port ``http``."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": _metadata(name, {"kubernetes.io/service-name": service}),
        "addressType": "IPv4",
        "endpoints": [
            {
                "addresses": [address.host],
                "conditions": {"ready": True},
                "targetRef": {"kind": "Pod", "name": name},
            }
        ],
        "ports": [{"name": "http", "port": address.port}],
    }


def pod(name: str, labels: Mapping[str, str], address: Address) -> dict[str, Any]:
    """What the kubelet would report of a ready Pod."""
    ports = [{"name": "http", "containerPort": address.port}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _metadata(name, labels),
        "spec": {"containers": [{"name": "backend", "ports": ports}]},
        "status": {"podIP": address.host, "conditions": [{"type": "Ready", "status": "True"}]},
    }


def write_documents(path: Path, documents: Sequence[Mapping[str, Any]]) -> None:
    """Replace a YAML file in one step, so that no reader sees half of it."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(yaml.safe_dump_all(documents, sort_keys=False))
    part.replace(path)


def _metadata(name: str, labels: Mapping[str, str]) -> dict[str, Any]:
    return {"name": name, "namespace": NAMESPACE, "labels": dict(labels)}
