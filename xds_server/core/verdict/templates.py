"""Which Pod templates evidence is about: those of the Pods that got the requests. Pure.

A canary's Pods are known with their labels. Of the stable version only the names of the Pods are, from its
EndpointSlices: a name without its last part is that of the ReplicaSet, which exists once for each template.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Final

from xds_server.core.objects import EndpointSlice, Pod
from xds_server.core.plan import ServicePlan
from xds_server.core.world import NamespaceView

_REVISIONS: Final = ("rollouts-pod-template-hash", "pod-template-hash", "controller-revision-hash")
"""Labels that controllers give to Pods: an Argo Rollout, a Deployment, and StatefulSets, DaemonSets and
CloneSets."""

_SIZE: Final = 8


def template_of(view: NamespaceView, service: str, plan: ServicePlan, canary: str) -> str:
    """Identifies the templates of the Pods behind a Service and behind a canary's mirrors; empty while one of
    the two has no Pods."""
    stable = {each.address for port in plan.ports for each in port.endpoints}
    mirrors = [mirror for port in plan.ports for mirror in port.mirrors if mirror.canary == canary]
    shadow = {each.address for mirror in mirrors for each in mirror.endpoints}
    sides = [_templates(view, stable, [service]), _templates(view, shadow, view.slices)]
    if not all(sides):
        return ""
    text = "|".join(",".join(sorted(side)) for side in sides)
    return hashlib.blake2b(text.encode(), digest_size=_SIZE).hexdigest()


def _templates(view: NamespaceView, addresses: set[str], services: Iterable[str]) -> set[str]:
    """The templates of the Pods with these addresses. What no Pod has is looked up in the slices of
    `services`."""
    pods = [pod for pod in view.pods.values() if not addresses.isdisjoint(pod.addresses)]
    found = {_template(pod) for pod in pods}
    others = addresses.difference(*(pod.addresses for pod in pods))
    if others:
        slices = (each for service in services for each in view.slices.get(service, {}).values())
        found |= {_owner(name) for name in _names(slices, others)}
    return found


def _names(slices: Iterable[EndpointSlice], addresses: set[str]) -> Iterator[str]:
    for each in slices:
        for endpoint in each.endpoints or ():
            if not addresses.isdisjoint(endpoint.addresses):
                # Without a Pod, as in files, an endpoint has no template.
                yield (endpoint.target_ref.name if endpoint.target_ref else None) or "-"


def _template(pod: Pod) -> str:
    revisions = (pod.labels[label] for label in _REVISIONS if label in pod.labels)
    return f"{_owner(pod.name)} {next(revisions, '')}"


def _owner(name: str) -> str:
    return name.rpartition("-")[0]
