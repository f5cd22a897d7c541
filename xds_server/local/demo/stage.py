"""The demo's example: the four manifests of a user, and the EndpointSlices and Pods that a cluster would
add."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from xds_server.base.address import Address
from xds_server.base.errors import UsageError, YamlError
from xds_server.base.yaml_load import read_all
from xds_server.core.keys import PREFIX

NAMESPACE = "staging"
SERVICE = "myapp"
CANARY = "myapp-canary"
HOST = f"{SERVICE}.{NAMESPACE}"
CANARY_FILE = "4-canary.yaml"
PERCENT = PREFIX + "percent"
COMPARE = PREFIX + "compare"
BASELINE = PREFIX + "baseline"

Document = dict[str, Any]


def example_manifests() -> Path:
    """The directory of the example: ``manifests/`` in a checkout, a copy of it in an installed package."""
    packaged = Path(__file__).with_name("manifests")
    return packaged if packaged.exists() else Path(__file__).parents[3] / "manifests"


def documents(manifests: Path) -> Iterator[Document]:
    """The example's objects, sorted by file name.

    Raises:
        UsageError: the directory does not have the example, or one of its files is not YAML.
    """
    if not (manifests / CANARY_FILE).exists():
        raise UsageError(f"--manifests: {manifests} has no {CANARY_FILE}; give the directory of the example")
    for file in sorted(manifests.glob("*.yaml")):
        try:
            found = read_all(file.read_bytes())
        except YamlError as error:
            raise UsageError(f"--manifests: {file} is not YAML: {error}") from error
        yield from (cast("Document", each) for each in found if each)


def endpoint_slice(name: str, service: str, address: Address) -> Document:
    """The EndpointSlice for one ready Pod and the Service port ``http``, as the endpoint slice controller
    would write it."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": _metadata(name, {"kubernetes.io/service-name": service}),
        "addressType": "IPv4",
        "endpoints": [
            {
                "addresses": [address.host],
                "conditions": {"ready": True},
                "targetRef": {"kind": "Pod", "name": name, "namespace": NAMESPACE},
            }
        ],
        "ports": [{"name": "http", "port": address.port, "protocol": "TCP"}],
    }


def pod(name: str, labels: Mapping[str, str], address: Address) -> Document:
    """A Pod whose container listens on the address, with the `status` that a kubelet would report."""
    container = {
        "name": "backend",
        "image": "backend",
        "ports": [{"name": "http", "containerPort": address.port}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _metadata(name, labels),
        "spec": {"containers": [container]},
        "status": {
            "phase": "Running",
            "podIP": address.host,
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [
                {
                    "name": "backend",
                    "image": "backend",
                    "imageID": "",
                    "ready": True,
                    "restartCount": 0,
                    "state": {"running": {}},
                }
            ],
        },
    }


def _metadata(name: str, labels: Mapping[str, str]) -> dict[str, Any]:
    return {"name": name, "namespace": NAMESPACE, "labels": dict(labels)}
