"""The field numbers of the messages that kubectl's ``create`` commands send as protobuf.

They are those of Kubernetes' published ``generated.proto`` files, where they never change.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple


class Field(NamedTuple):
    """The field of a number. `kind` is the name of a message, or of a scalar in `protobuf`."""

    name: str
    kind: str
    many: bool = False
    keyed: bool = False
    zero: bool = False  # a zero or empty value is significant, because the field is optional


def _fields(text: str) -> dict[int, Field]:
    """Parse a row: ``1 name text, 6 [ports] ContainerPort, 11 {labels} text, 1 replicas! int``."""
    found = {}
    for part in text.split(","):
        number, name, kind = part.split()
        found[int(number)] = Field(
            name.strip("[]{}!"), kind, name.startswith("["), name.startswith("{"), name.endswith("!")
        )
    return found


_ROLE: Final = "1 metadata ObjectMeta, 2 [rules] PolicyRule"
_BINDING: Final = "1 metadata ObjectMeta, 2 [subjects] Subject, 3 roleRef RoleRef"

MESSAGES: Final[Mapping[str, dict[int, Field]]] = {
    name: _fields(text)
    for name, text in {
        "TypeMeta": "1 apiVersion text, 2 kind text",
        "ObjectMeta": "1 name text, 2 generateName text, 3 namespace text, 5 uid text, "
        "6 resourceVersion text, 11 {labels} text, 12 {annotations} text, 14 [finalizers] text",
        "LabelSelector": "1 {matchLabels} text, 2 [matchExpressions] LabelSelectorRequirement",
        "LabelSelectorRequirement": "1 key text, 2 operator text, 3 [values] text",
        "Namespace": "1 metadata ObjectMeta, 2 spec NamespaceSpec",
        "NamespaceSpec": "1 [finalizers] text",
        "Service": "1 metadata ObjectMeta, 2 spec ServiceSpec",
        "ServiceSpec": "1 [ports] ServicePort, 2 {selector} text, 3 clusterIP text, 4 type text, "
        "5 [externalIPs] text, 7 sessionAffinity text, 10 externalName text, "
        "13 publishNotReadyAddresses flag",
        "ServicePort": "1 name text, 2 protocol text, 3 port int, 4 targetPort IntOrString, 5 nodePort int, "
        "6 appProtocol text",
        "Deployment": "1 metadata ObjectMeta, 2 spec DeploymentSpec",
        "DeploymentSpec": "1 replicas! int, 2 selector! LabelSelector, 3 template PodTemplateSpec, "
        "4 strategy DeploymentStrategy, 5 minReadySeconds int, 6 revisionHistoryLimit! int, 7 paused flag, "
        "9 progressDeadlineSeconds! int",
        "DeploymentStrategy": "1 type text, 2 rollingUpdate RollingUpdate",
        "RollingUpdate": "1 maxUnavailable IntOrString, 2 maxSurge IntOrString",
        "PodTemplateSpec": "1 metadata ObjectMeta, 2 spec PodSpec",
        "Pod": "1 metadata ObjectMeta, 2 spec PodSpec",
        "PodSpec": "2 [containers] Container, 3 restartPolicy text, 4 terminationGracePeriodSeconds! int, "
        "6 dnsPolicy text, 7 {nodeSelector} text, 8 serviceAccountName text, 10 nodeName text, "
        "19 schedulerName text",
        "Container": "1 name text, 2 image text, 3 [command] text, 4 [args] text, 5 workingDir text, "
        "6 [ports] ContainerPort, 7 [env] EnvVar, 8 resources ResourceRequirements, 14 imagePullPolicy text, "
        "16 stdin flag, 17 stdinOnce flag, 18 tty flag",
        "ContainerPort": "1 name text, 2 hostPort int, 3 containerPort int, 4 protocol text, 5 hostIP text",
        "EnvVar": "1 name text, 2 value text",
        "ResourceRequirements": "1 {limits} Quantity, 2 {requests} Quantity",
        "Secret": "1 metadata ObjectMeta, 2 {data} bytes, 3 type text, 4 {stringData} text, 5 immutable flag",
        "ConfigMap": "1 metadata ObjectMeta, 2 {data} text, 3 {binaryData} bytes, 4 immutable flag",
        "ServiceAccount": "1 metadata ObjectMeta, 4 automountServiceAccountToken! flag",
        "PodDisruptionBudget": "1 metadata ObjectMeta, 2 spec PodDisruptionBudgetSpec",
        "PodDisruptionBudgetSpec": "1 minAvailable IntOrString, 2 selector LabelSelector, "
        "3 maxUnavailable IntOrString",
        "Role": _ROLE,
        "ClusterRole": f"{_ROLE}, 3 aggregationRule AggregationRule",
        "AggregationRule": "1 [clusterRoleSelectors] LabelSelector",
        "PolicyRule": "1 [verbs] text, 2 [apiGroups] text, 3 [resources] text, 4 [resourceNames] text, "
        "5 [nonResourceURLs] text",
        "RoleBinding": _BINDING,
        "ClusterRoleBinding": _BINDING,
        "Subject": "1 kind text, 2 apiGroup text, 3 name text, 4 namespace text",
        "RoleRef": "1 apiGroup text, 2 kind text, 3 name text",
        "DeleteOptions": "1 gracePeriodSeconds! int, 2 preconditions Preconditions, "
        "4 propagationPolicy text, 5 [dryRun] text",
        "Preconditions": "1 uid text, 2 resourceVersion text",
    }.items()
}
