"""The canaries of one Service: each intent with the endpoints and the credential that it leads to."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from xds_server.base.ids import NamespacedName
from xds_server.core.annotations import ENDPOINTS_FROM, Policy, Treatment
from xds_server.core.backends import (
    CanaryEndpoints,
    canary_endpoints,
    counterpart,
    service_endpoints,
)
from xds_server.core.conditions import Condition, Reason, about
from xds_server.core.credentials import credential_of
from xds_server.core.intents import Intent
from xds_server.core.objects import Pod, Service
from xds_server.core.plan import Credential
from xds_server.core.ports import HttpPort, called
from xds_server.core.scene import Scene
from xds_server.core.world import NamespaceView

MAX_PODS: Final = 1_000
"""Pods of one canary that get mirrored requests."""


@dataclass(frozen=True, slots=True)
class Canary:
    """An intent and what it leads to. With a `rejection`, a condition of the canary itself, no requests are
    mirrored to it. `unreadable` are the names of the ports whose requests its policy cannot redact.
    `left_out` are sentences that name the requests that its policy selects and that are not mirrored."""

    intent: Intent
    endpoints: CanaryEndpoints
    rejection: Condition | None = None
    credential: Credential | None = None
    unreadable: frozenset[str] = frozenset()
    left_out: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """See `Intent.name`."""
        return self.intent.name

    @property
    def treatment(self) -> Treatment:
        """How its policy changes and limits mirrored requests."""
        return (self.policy or Policy()).treatment

    @property
    def policy(self) -> Policy | None:
        """The policy; None if it is not valid."""
        return self.intent.policy if isinstance(self.intent.policy, Policy) else None


def canary_of(scene: Scene, intent: Intent, ports: Sequence[HttpPort]) -> Canary:
    """The canary of an intent, on these ports of its Service."""
    endpoints, rejection = _endpoints(scene, intent, ports)
    if len(scene.pods_of(intent.canary)) > MAX_PODS:
        endpoints = replace(endpoints, pods=endpoints.pods | scene.pods_of(intent.canary).keys())
    if isinstance(intent.policy, Condition):
        return Canary(intent, endpoints, intent.policy)
    wanted = intent.policy.credential
    credential = (
        credential_of(scene.view, scene.name, wanted, sendable=scene.rules.installation.credentials)
        if wanted
        else None
    )
    if isinstance(credential, Condition):
        return Canary(intent, endpoints, rejection or credential)
    unreadable = [http for http in ports if http.grpc] if intent.policy.treatment.redactions else []
    if unreadable and len(unreadable) == len(ports):
        return Canary(intent, endpoints, rejection or _cannot_redact(intent))
    return Canary(
        intent,
        endpoints,
        rejection,
        credential,
        frozenset(http.name for http in unreadable),
        tuple(_left_out(endpoints, unreadable, ports)),
    )


def _cannot_redact(intent: Intent) -> Condition:
    message = (
        f"redact masks values of JSON and of forms, and Service {intent.target} speaks gRPC, whose messages"
        " it cannot read: no request could be mirrored. Mirror without redact, or, if the port"
        " carries JSON or forms, set the port's appProtocol to http."
    )
    return Condition(about(intent.canary), Reason.CANNOT_REDACT, message)


def _left_out(
    endpoints: CanaryEndpoints, unreadable: Sequence[HttpPort], ports: Sequence[HttpPort]
) -> Iterator[str]:
    for http in ports:
        if http in unreadable:
            yield f"Requests of port {http.port.port} are not: it speaks gRPC, which redact cannot read."
        elif not endpoints.by_port.get(http.name):
            yield f"Requests of port {http.port.port} are not: the canary has no ready endpoint there."


def _endpoints(
    scene: Scene, intent: Intent, ports: Sequence[HttpPort]
) -> tuple[CanaryEndpoints, Condition | None]:
    """The canary's endpoints, and the condition if they cannot come from where its policy says."""
    view, target = scene.view, intent.target
    own = canary_endpoints(_limited(scene.pods_of(intent.canary)), [http.port for http in ports])
    if intent.endpoints_from is None:
        return own, None
    if intent.endpoints_from == target.name:
        loop = f"Its endpoints would come from Service {target}, the one that it shadows."
        return own, Condition(about(intent.canary), Reason.MIRROR_LOOP, loop)
    source = view.services.get(intent.endpoints_from)
    name = NamespacedName(target.namespace, intent.endpoints_from)
    if source is None:
        missing = f"Service {name} of annotation {ENDPOINTS_FROM.key} does not exist."
        return own, Condition(about(intent.canary), Reason.SERVICE_NOT_FOUND, missing)
    if why := _no_endpoints(view, source, target, ports):
        return own, Condition(about(intent.canary), Reason.NO_ENDPOINTS, why)
    theirs = service_endpoints(view, source, [http.port for http in ports])
    both = replace(theirs, pods=theirs.pods | own.pods, all=theirs.all | own.all)
    if target.name in _mirrored_to(scene, intent.endpoints_from):
        loop = f"Its endpoints come from Service {name}, which is mirrored to Service {target} in turn."
        return both, Condition(about(intent.canary), Reason.MIRROR_LOOP, loop)
    return both, None


def _no_endpoints(
    view: NamespaceView, source: Service, target: NamespacedName, ports: Sequence[HttpPort]
) -> str:
    """Why a Service cannot have endpoints for mirrored requests, or ""."""
    name = NamespacedName(target.namespace, source.name)
    if source.spec.type == "ExternalName":
        return (
            f"Service {name}, which endpoints-from names, is an ExternalName and has none; name a"
            " Service that has endpoints with IP addresses."
        )
    slices = view.slices.get(source.name, {}).values()
    if slices and all(each.address_type == "FQDN" for each in slices):
        return (
            f"The EndpointSlices of Service {name}, which endpoints-from names, are of addressType"
            " FQDN, and only IP addresses get mirrored requests."
        )
    if ports and not any(counterpart(source, http.port) for http in ports):
        return (
            f"No TCP port of Service {name}, which endpoints-from names, has the name or number of"
            f" a routed port of Service {target} ({', '.join(called(http.port) for http in ports)})."
        )
    return ""


def _limited(pods: Mapping[str, Pod]) -> list[Pod]:
    """The first `MAX_PODS` Pods by name."""
    return [pods[name] for name in sorted(pods)[:MAX_PODS]] if len(pods) > MAX_PODS else [*pods.values()]


def _mirrored_to(scene: Scene, service: str) -> set[str]:
    """The Services whose endpoints get mirrored requests of this Service, directly or through other
    Services."""
    found: set[str] = set()
    waiting = [service]
    while waiting:
        for intent in scene.intents(waiting.pop()):
            source = intent.endpoints_from
            if source is not None and source not in found:
                found.add(source)
                waiting.append(source)
    return found
