"""The keys of every label and annotation that is read, and the prefix that all but one share.

`LABELS` documents the labels. The annotations have a table of their own (`annotations`).
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

PREFIX: Final = "xds-shadow.io/"
"""The prefix of all labels and annotations of xds-shadow."""

# Labels

EXPOSE: Final = f"{PREFIX}expose"
SHADOW_OF: Final = f"{PREFIX}shadow-of"
ALLOW: Final = f"{PREFIX}allow"


class Label(NamedTuple):
    """A label of xds-shadow: its key, the kinds of objects that can have it, and its meaning."""

    key: str
    on: str
    meaning: str


LABELS: Final = (
    Label(
        EXPOSE,
        "Namespace, Service",
        "`true`: Envoys route requests to the Service. `false`: they do not. The Service's label overrides"
        " its Namespace's.",
    ),
    Label(
        SHADOW_OF,
        "workload",
        "The Service of the same namespace whose requests are mirrored to the workload.",
    ),
    Label(ALLOW, "Secret", "`true`: a canary may use the Secret as a credential."),
)

SERVICE_NAME: Final = "kubernetes.io/service-name"
"""On an EndpointSlice: the Service that it belongs to. Kubernetes sets it."""

# Annotations of a Service

HOSTS: Final = f"{PREFIX}hosts"
GATEWAYS: Final = f"{PREFIX}gateways"
HTTP_PORTS: Final = f"{PREFIX}http-ports"


def settings_of(annotations: Mapping[str, str]) -> dict[str, str]:
    """The annotations that have the prefix, without it."""
    return {key.removeprefix(PREFIX): text for key, text in annotations.items() if key.startswith(PREFIX)}
