"""The canaries of one Service: each intent with the endpoints and the credential that it leads to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from xds_server.base.ids import NamespacedName
from xds_server.model.objects import Pod
from xds_server.shadows.credentials import credential_of
from xds_server.shadows.endpoints import CanaryEndpoints, canary_endpoints, service_endpoints
from xds_server.shadows.intents import Intent
from xds_server.shadows.plan import Credential, Reason
from xds_server.shadows.ports import HttpPort
from xds_server.shadows.refusal import Refusal
from xds_server.shadows.scene import Scene
from xds_server.shadows.terms import Policy, Treatment

MOST_PODS: Final = 1_000
"""Of a canary, that get mirrored requests."""


@dataclass(frozen=True, slots=True)
class Canary:
    """`refusal` is what is wrong with the canary itself: it is not mirrored to then."""

    intent: Intent
    endpoints: CanaryEndpoints
    refusal: Refusal | None = None
    credential: Credential | None = None

    @property
    def name(self) -> str:
        """Of the Deployment."""
        return self.intent.name

    @property
    def treatment(self) -> Treatment:
        """What its policy makes of mirrored requests."""
        return (self.policy or Policy()).treatment

    @property
    def policy(self) -> Policy | None:
        """None where it cannot be understood."""
        return self.intent.policy if isinstance(self.intent.policy, Policy) else None


def canary_of(scene: Scene, intent: Intent, ports: Sequence[HttpPort]) -> Canary:
    """What an intent leads to on these ports of its Service."""
    endpoints, refusal = _endpoints(scene, intent, ports)
    if len(scene.pods_of(intent.canary)) > MOST_PODS:
        endpoints = replace(endpoints, pods=endpoints.pods | scene.pods_of(intent.canary).keys())
    if isinstance(intent.policy, Refusal):
        return Canary(intent, endpoints, intent.policy)
    wanted = intent.policy.credential
    credential = (
        credential_of(scene.view, scene.name, wanted, sendable=scene.rules.installation.credentials)
        if wanted
        else None
    )
    if isinstance(credential, Refusal):
        return Canary(intent, endpoints, refusal or credential)
    return Canary(intent, endpoints, refusal, credential)


def _endpoints(
    scene: Scene, intent: Intent, ports: Sequence[HttpPort]
) -> tuple[CanaryEndpoints, Refusal | None]:
    """The canary's endpoints, and what is wrong with where they come from."""
    view, target = scene.view, intent.target
    own = canary_endpoints(_few(scene.pods_of(intent.canary)), [http.port for http in ports])
    if intent.endpoints_from is None:
        return own, None
    if intent.endpoints_from == target.name:
        loop = f"Its endpoints would come from Service {target}, the one that it shadows."
        return own, Refusal(Reason.MIRROR_LOOP, loop)
    source = view.services.get(intent.endpoints_from)
    name = NamespacedName(target.namespace, intent.endpoints_from)
    if source is None:
        missing = f"There is no Service {name}, which its endpoints are to come from."
        return own, Refusal(Reason.SERVICE_NOT_FOUND, missing)
    theirs = service_endpoints(view, source, [http.port for http in ports])
    both = replace(theirs, pods=theirs.pods | own.pods, all=theirs.all | own.all)
    if target.name in _mirrored_to(scene, intent.endpoints_from):
        loop = f"Its endpoints come from Service {name}, which is mirrored to Service {target} in turn."
        return both, Refusal(Reason.MIRROR_LOOP, loop)
    return both, None


def _few(pods: Mapping[str, Pod]) -> list[Pod]:
    """No more than may be endpoints of a canary."""
    return [pods[name] for name in sorted(pods)[:MOST_PODS]] if len(pods) > MOST_PODS else [*pods.values()]


def _mirrored_to(scene: Scene, service: str) -> set[str]:
    """The Services whose endpoints get mirrored requests of this one, directly or by way of others."""
    found: set[str] = set()
    waiting = [service]
    while waiting:
        for intent in scene.intents(waiting.pop()):
            source = intent.endpoints_from
            if source is not None and source not in found:
                found.add(source)
                waiting.append(source)
    return found
