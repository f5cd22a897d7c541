"""Whose configuration an Envoy's refusal is about: the generated names that its message holds.

A message may name things without calling them wrong, as "unknown cluster" names what is missing: what is told
is that a refusal concerns an object, in Envoy's words, and the words say the rest.
"""

import re
from typing import Final, NamedTuple

from xds_server.base.ids import NamespacedName

_LABEL: Final = "[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_SUBDOMAIN: Final = "[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?"
_NAME: Final = re.compile(
    rf"(?<![-\w./])(?P<namespace>{_LABEL})/(?P<service>{_LABEL})"
    rf"(?:(?:/{_LABEL})?/shadow/(?P<deployment>{_SUBDOMAIN})|/{_LABEL})?(?![-\w/]|\.\w)"
)
_HOST: Final = re.compile(rf"(?<![-\w./]){_LABEL}/(?P<service>{_LABEL})\.(?P<namespace>{_LABEL})(?![-\w.])")
_DOMAIN: Final = re.compile(r"\bdomain ([^\s,'\"]{1,261})")


class Blamed(NamedTuple):
    """What a name belongs to: a canary's copies, or with no `deployment` the Service itself."""

    service: NamespacedName
    deployment: str = ""


def blame(message: str) -> frozenset[Blamed]:
    """The owners of all generated names in `message`."""
    message = message.replace("adding/updating", "")
    clusters = {
        Blamed(NamespacedName(found["namespace"], found["service"]), found["deployment"] or "")
        for found in _NAME.finditer(message)
    }
    hosts = {
        Blamed(NamespacedName(found["namespace"], found["service"])) for found in _HOST.finditer(message)
    }
    return frozenset(clusters | hosts)


def domains(message: str) -> frozenset[str]:
    """The hosts that `message` calls domains: where two virtual hosts have the same, Envoy names it alone."""
    return frozenset(_DOMAIN.findall(message))
