"""How names of Kubernetes objects look, as parts of regular expressions without groups."""

from typing import Final

LABEL: Final = "[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
"""A Namespace's name, and a part of a host (RFC 1123)."""

UNREACHABLE: Final = "_none.invalid"
"""The domain of a virtual host that no request is meant to reach. No Service can claim it: no host has a
``_``."""

SUBDOMAIN: Final = "[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?"
"""A Secret's or a Deployment's name. Looser than Kubernetes is: two dots may follow each other, in a name
that no object has."""
