"""Intents: who shadows whom, by which policy, from where.

A reader makes them of one kind of object. The label on a Deployment is the first; what follows knows intents
and not who said them. An intent is read when the object or its Namespace changes, and kept until then.
"""

from dataclasses import dataclass

from xds_server.base.ids import NamespacedName
from xds_server.model.objects import Deployment
from xds_server.model.world import SHADOW_OF
from xds_server.shadows.bounds import NotAllowedError
from xds_server.shadows.layers import Layer
from xds_server.shadows.plan import Reason
from xds_server.shadows.policy import endpoints_source, parse_policy
from xds_server.shadows.refusal import Refusal
from xds_server.shadows.terms import Policy
from xds_server.shadows.values import PolicyError, sentence


@dataclass(frozen=True, slots=True)
class Intent:
    """That the Pods of `canary` get mirrored requests of the Service `target`. Where the policy cannot be
    understood it is the `Refusal` that says why: the intent says all the same what the Pods are. `age` sorts
    the oldest first."""

    canary: Deployment
    target: NamespacedName
    age: tuple[str, str]
    policy: Policy | Refusal
    endpoints_from: str | None = None

    @property
    def name(self) -> str:
        """Of the Deployment."""
        return self.canary.name


def read_label(deployment: Deployment, namespace: Layer, installation: Layer) -> Intent:
    """The intent of a Deployment that carries the label `SHADOW_OF`."""
    return Intent(
        canary=deployment,
        target=NamespacedName(deployment.namespace, deployment.labels[SHADOW_OF]),
        age=(deployment.created, deployment.name),
        policy=_policy(deployment, namespace, installation),
        endpoints_from=endpoints_source(deployment.annotations, namespace, installation),
    )


def _policy(deployment: Deployment, namespace: Layer, installation: Layer) -> Policy | Refusal:
    try:
        return parse_policy(deployment.annotations, namespace, installation)
    except PolicyError as error:
        reason = Reason.NOT_ALLOWED if isinstance(error, NotAllowedError) else Reason.INVALID_POLICY
        return Refusal(reason, sentence(error))
