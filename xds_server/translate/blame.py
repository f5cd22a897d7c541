"""Finds the objects that a NACK concerns, by the generated names in its message.

A message may name a resource that is not at fault: "unknown cluster" names what is missing. So a NACK is
reported for each object that it names, with Envoy's message.
"""

import re
from typing import Final, NamedTuple

from xds_server.base.dns import LABEL, SUBDOMAIN
from xds_server.base.ids import NamespacedName
from xds_server.translate import names

_NAME: Final = re.compile(
    rf"(?<![-\w./])(?P<namespace>{LABEL})/(?P<service>{LABEL})"
    rf"(?:(?:/{LABEL})?/(?:shadow|baseline)/(?P<canary>{names.KINDS_BEFORE_NAMES}{SUBDOMAIN})|/{LABEL})?(?![-\w/]|\.\w)"
)
_HOST: Final = re.compile(rf"(?<![-\w./]){LABEL}/(?P<service>{LABEL})\.(?P<namespace>{LABEL})(?![-\w.])")


class Blamed(NamedTuple):
    """The object that a name belongs to: a canary, or the Service itself if `canary` is empty."""

    service: NamespacedName
    canary: str = ""


def blame(message: str) -> frozenset[Blamed]:
    """The owners of all generated names in `message`."""
    message = message.replace("adding/updating", "")
    clusters = {
        Blamed(NamespacedName(found["namespace"], found["service"]), found["canary"] or "")
        for found in _NAME.finditer(message)
    }
    hosts = {
        Blamed(NamespacedName(found["namespace"], found["service"])) for found in _HOST.finditer(message)
    }
    return frozenset(clusters | hosts)
