"""The demo's requests to its cluster: those of kubectl, and those of a cluster's controllers.

Labels are set with the same request that kubectl sends. kubectl itself is not required.
"""

import json
from http import HTTPStatus

import aiohttp

from xds_server.base.address import Address
from xds_server.base.errors import XdsShadowError
from xds_server.core.keys import SHADOW_OF
from xds_server.local.demo.stage import (
    BASELINE,
    CANARY,
    COMPARE,
    NAMESPACE,
    PERCENT,
    SERVICE,
    Document,
    endpoint_slice,
    pod,
)

_COLLECTIONS = {
    "Namespace": "/api/v1/namespaces",
    "Service": "/api/v1/namespaces/{namespace}/services",
    "Pod": "/api/v1/namespaces/{namespace}/pods",
    "Deployment": "/apis/apps/v1/namespaces/{namespace}/deployments",
    "EndpointSlice": "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices",
}
_MERGE_PATCH = "application/merge-patch+json"


class Api:
    """Sends requests to an API without TLS and credentials, such as the embedded one. Every method raises
    `XdsShadowError` if the API rejects the request, and `aiohttp.ClientError` if it does not answer."""

    def __init__(self, address: Address) -> None:
        self.address = address

    async def create(self, document: Document) -> None:
        """Create an object, and set its status as a controller would. If the object exists, only its status
        changes."""
        await self._send("POST", _collection(document), document, "application/json", HTTPStatus.CONFLICT)
        if "status" in document:
            path = f"{_collection(document)}/{document['metadata']['name']}/status"
            await self._send("PATCH", path, {"status": document["status"]}, _MERGE_PATCH)

    async def add_pods(self, stable: Address, canary: Address) -> None:
        """Create or update the Pods and EndpointSlices of the backends: one ready Pod for each Deployment.
        With other addresses, the Pods move."""
        where = endpoint_slice(f"{SERVICE}-1", SERVICE, stable)
        await self.create(where)
        await self._send("PATCH", f"{_collection(where)}/{SERVICE}-1", where, _MERGE_PATCH)
        for deployment, address in ((SERVICE, stable), (CANARY, canary)):
            await self.create(pod(f"{deployment}-1", {"app": deployment}, address))
            status = {"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}
            await self._patch_deployment(deployment, {"status": status}, "/status")

    async def has_pods(self) -> bool:
        """Whether `add_pods` has been called."""
        path = _COLLECTIONS["Pod"].format(namespace=NAMESPACE)
        found = await self._send("GET", f"{path}/{CANARY}-1", None, "", HTTPStatus.NOT_FOUND)
        return found is HTTPStatus.OK

    async def label(self) -> None:
        """``kubectl label deployment myapp-canary xds-shadow.io/shadow-of=myapp``."""
        await self._patch_canary("labels", SHADOW_OF, SERVICE)

    async def unlabel(self) -> None:
        """``kubectl label deployment myapp-canary xds-shadow.io/shadow-of-``."""
        await self._patch_canary("labels", SHADOW_OF, None)

    async def compare_bodies(self) -> None:
        """``kubectl annotate`` with ``xds-shadow.io/compare=bodies`` and ``xds-shadow.io/baseline=true``."""
        for key, value in ((COMPARE, "bodies"), (BASELINE, "true")):
            await self._patch_canary("annotations", key, value)

    async def roll_out_canary(self, address: Address) -> None:
        """Replace the canary's Pod by one of another template, as ``kubectl set image`` does."""
        old = pod(f"{CANARY}-1", {"app": CANARY}, address)
        await self._send("DELETE", f"{_collection(old)}/{CANARY}-1", None, "")
        await self.create(pod(f"{CANARY}-2", {"app": CANARY, "pod-template-hash": "2"}, address))

    async def annotate_percent(self, percent: str) -> None:
        """``kubectl annotate deployment myapp-canary xds-shadow.io/percent=…``."""
        await self._patch_canary("annotations", PERCENT, percent)

    async def _patch_canary(self, section: str, key: str, value: str | None) -> None:
        await self._patch_deployment(CANARY, {"metadata": {section: {key: value}}})

    async def _patch_deployment(self, name: str, patch: Document, subresource: str = "") -> None:
        path = _COLLECTIONS["Deployment"].format(namespace=NAMESPACE)
        await self._send("PATCH", f"{path}/{name}{subresource}", patch, _MERGE_PATCH)

    async def _send(
        self, method: str, path: str, body: Document | None, content_type: str, but: HTTPStatus | None = None
    ) -> HTTPStatus:
        """Send a request; the status `but` is not an error."""
        url, headers = f"http://{self.address}{path}", {"Content-Type": content_type} if body else {}
        data = json.dumps(body) if body else None
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, data=data, headers=headers) as response,
        ):
            if not response.ok and response.status != but:
                raise XdsShadowError(f"{method} {path}: {response.status} {await response.text()}")
            return HTTPStatus(response.status)


def _collection(document: Document) -> str:
    return _COLLECTIONS[document["kind"]].format(namespace=document["metadata"].get("namespace"))
