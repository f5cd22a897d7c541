"""Intents: which workload shadows which Service, by which policy, with which endpoints.

A reader makes intents of one kind of object. The only reader so far reads the label of a workload. The rest
of the program knows intents, and not the object that they come from. An intent is read anew when the object
or its Namespace changes.
"""

from dataclasses import dataclass

from xds_server.base.ids import NamespacedName
from xds_server.core.annotations import Policy
from xds_server.core.bounds import NotAllowedError
from xds_server.core.conditions import Condition, Reason, about
from xds_server.core.keys import SHADOW_OF, settings_of
from xds_server.core.layers import Layer
from xds_server.core.objects import (
    WORKLOADS,
    LabelSelector,
    Rollout,
    RolloutSpec,
    Workload,
    WorkloadRef,
)
from xds_server.core.policy import endpoints_source, merge
from xds_server.core.values import PolicyError, sentence


@dataclass(frozen=True, slots=True)
class Intent:
    """The Pods of `canary` get mirrored requests of the Service `target`. If the policy is not valid,
    `policy` is the `Condition` that says why; the Pods of the canary are known even so. `age` sorts the
    oldest first."""

    canary: Workload
    target: NamespacedName
    age: tuple[str, str]
    policy: Policy | Condition
    endpoints_from: str | None = None

    @property
    def name(self) -> str:
        """The workload's key, which is unique in its namespace."""
        return self.canary.key


def read_label(workload: Workload, namespace: Layer, installation: Layer) -> Intent:
    """The intent of a workload that carries the label `SHADOW_OF`."""
    settings = Layer("", settings_of(workload.annotations))
    return Intent(
        canary=workload,
        target=NamespacedName(workload.namespace, workload.labels[SHADOW_OF]),
        age=(workload.created, workload.key),
        policy=_policy(workload, settings, namespace, installation),
        endpoints_from=endpoints_source(settings, namespace, installation),
    )


def _policy(workload: Workload, settings: Layer, namespace: Layer, installation: Layer) -> Policy | Condition:
    if misplaced := _misplaced(workload):
        return Condition(about(workload), Reason.INVALID_LABEL, misplaced)
    try:
        return merge(settings, namespace, installation, own=f"the {workload.kind}")
    except PolicyError as error:
        reason = Reason.NOT_ALLOWED if isinstance(error, NotAllowedError) else Reason.INVALID_POLICY
        return Condition(about(workload), reason, sentence(error))


def _misplaced(workload: Workload) -> str:
    """Why this workload cannot have the label, or ""."""
    selector = workload.spec.selector
    match workload:
        case Rollout(spec=RolloutSpec(workload_ref=WorkloadRef() as ref)) if selector == LabelSelector():
            where = f"on {ref.kind} {ref.name}" if ref.kind in WORKLOADS else "where the selector is"
            return (
                f"Its Pods are those of {ref.kind} {ref.name} (spec.workloadRef), and a Rollout without a"
                f" spec.selector does not say which. Put the label {SHADOW_OF} {where}."
            )
        case _ if not (selector.match_labels or selector.match_expressions):
            return "It has no spec.selector, which says which Pods get the mirrored requests."
    return ""
