"""The keys of every label and annotation that is read, and the prefix that all but one share.

The annotations that set a policy, a bound or a limit have a table of their own (`annotations`).
"""

from collections.abc import Mapping
from typing import Final

PREFIX: Final = "xds-shadow.io/"
"""The prefix of all labels and annotations of xds-shadow."""

# Labels

SHADOW_OF: Final = f"{PREFIX}shadow-of"
"""On a workload: marks it as the canary of the Service that the value names, in the same namespace."""

EXPOSE: Final = f"{PREFIX}expose"
"""On a Service or Namespace: ``true`` routes the Service, or all Services of the Namespace."""

ALLOW: Final = f"{PREFIX}allow"
"""On a Secret: ``true`` lets a shadow use it as a credential."""

SERVICE_NAME: Final = "kubernetes.io/service-name"
"""On an EndpointSlice: the Service that it belongs to. Kubernetes sets it."""

# Annotations of a Service

HOSTS: Final = f"{PREFIX}hosts"
GATEWAYS: Final = f"{PREFIX}gateways"
HTTP_PORTS: Final = f"{PREFIX}http-ports"


def settings_of(annotations: Mapping[str, str]) -> dict[str, str]:
    """The annotations that have the prefix, without it."""
    return {key.removeprefix(PREFIX): text for key, text in annotations.items() if key.startswith(PREFIX)}
