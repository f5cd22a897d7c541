"""Patterns of the names of Kubernetes objects, as regular expressions without groups."""

from typing import Final

LABEL: Final = "[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
"""The name of a Namespace, and a label of a host name (RFC 1123)."""

UNREACHABLE: Final = "_none.invalid"
"""The domain of a virtual host that matches no request. No Service can claim it, because host names have no
``_``."""

SUBDOMAIN: Final = "[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?"
"""The name of a Secret or a Deployment. Less strict than Kubernetes, which does not allow two dots in a
row."""
