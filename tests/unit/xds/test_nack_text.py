"""Which resources the message of a NACK names."""

import pytest

from tests.unit.xds.peer import host
from xds_server.xds.nack_text import names_in
from xds_server.xds.resource import Resource


def _claiming(name: str, *domains: str) -> Resource:
    plain = host(name, "c")
    return Resource(plain.key, plain.body, plain.refs, claims=domains)


@pytest.mark.parametrize("domain", ["web.staging:80", "web.staging.:80"])
def test_a_domain_names_its_virtual_host_however_it_is_spelled(domain: str) -> None:
    resources = {"r/web": _claiming("r/web", "web.staging:80"), "r/api": _claiming("r/api", "api.staging:80")}
    message = (
        f"Only unique values for domains are permitted. Duplicate entry of domain {domain} in route gateway"
    )
    assert names_in(message, resources) == {"r/web"}
