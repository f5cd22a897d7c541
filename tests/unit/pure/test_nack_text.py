"""The messages of NACKs as people read them. They are those of Envoy 1.40 and 1.36."""

import pytest

from xds_server.base.text import plain
from xds_server.xds.nack_summary import summary
from xds_server.xds.nack_text import domains

CLUSTER = """\
name: "staging/myapp/80"
type: EDS
eds_cluster_config {
  eds_config {
    ads {
    }
    resource_api_version: V3
  }
}
connect_timeout {
}
"""
TIMEOUT = (
    "Proto constraint validation failed (ClusterValidationError.ConnectTimeout: must be greater than 0s)"
)
ASSIGNMENT = """\
cluster_name: "staging/myapp/80"
endpoints {
  lb_endpoints {
    endpoint {
      address {
        socket_address {
          port_value: 80
        }
      }
    }
  }
}
"""
ROUTES = """\
name: "gateway"
virtual_hosts {
  name: "prod/shop/8080"
  domains: "shop.prod"
  routes {
    match {
      prefix: "/"
    }
    route {
      cluster: "prod/shop/8080"
      host_rewrite_literal: "a\\nb \\"c\\""
    }
    name: "all"
  }
}
virtual_hosts {
  name: "staging/myapp/80"
  routes {
    match {
      prefix: "/"
    }
    route {
      cluster: "staging/myapp/80"
    }
    name: "all"
  }
}
"""
DOMAINS = (
    "Proto constraint validation failed (RouteConfigurationValidationError.VirtualHosts[1]: embedded message"
    " failed validation | caused by VirtualHostValidationError.Domains: must contain 1 item(s))"
)
SHORT = (
    "Proto constraint validation failed (RouteConfigurationValidationError.VirtualHosts[1]:"
    " VirtualHostValidationError.Domains: must contain 1 item(s))"
)
MANAGER = """\
rds {
  route_config_name: "gateway"
}
http_filters {
  name: "envoy.filters.http.router"
  typed_config {
    [type.googleapis.com/envoy.extensions.filters.http.router.v3.Router] {
    }
  }
}
"""
PREFIX = "Proto constraint validation failed (HttpConnectionManagerValidationError.StatPrefix: too short)"


@pytest.mark.parametrize("mark", ["", "goo.gle/debugstr    \n", "goo.gle/debugonly \n"], ids=repr)
@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (f"%s{CLUSTER}: {TIMEOUT}", f"staging/myapp/80: {TIMEOUT}"),
        (f"%s{ASSIGNMENT}: no address", "staging/myapp/80: no address"),
        (
            f"%s{ROUTES}: {DOMAINS}",
            f"gateway, virtual host staging/myapp/80: {SHORT}",
        ),
        (f"%s{ROUTES}: {TIMEOUT}", f"gateway: {TIMEOUT}"),
        # An index that the resource does not have.
        (
            f"%s{ROUTES}: wrong (RouteConfigurationValidationError.VirtualHosts[7]: x)",
            "gateway: wrong (RouteConfigurationValidationError.VirtualHosts[7]: x)",
        ),
        (
            f"Error adding/updating listener(s) gateway: %s{MANAGER}: {PREFIX}\n",
            f"Error adding/updating listener(s) gateway: the resource: {PREFIX}",
        ),
        # Envoy cut it.
        (
            f'%s{ROUTES}virtual_hosts {{\n  name: "x/...(truncated)',
            "gateway: Envoy's message ends before its reason",
        ),
        # Two in one message.
        (f"%s{CLUSTER}: {TIMEOUT}\n{ASSIGNMENT}: b", f"staging/myapp/80: {TIMEOUT} staging/myapp/80: b"),
    ],
)
def test_a_printed_resource_becomes_its_name(mark: str, message: str, expected: str) -> None:
    assert summary(message % mark, 2000) == expected


@pytest.mark.parametrize(
    "message",
    [
        "Error adding/updating cluster(s) staging/myapp/80: ring hash, staging/myapp/80/shadow/canary: EDS",
        "Only unique values for domains are permitted. Duplicate entry of domain myapp.staging in route a",
        "route: unknown cluster 'staging/gone/80'",
        "malformed IP address: not-an-ip. Consider setting resolver_name or cluster type",
        "missing ): (unclosed",
        "",
    ],
)
def test_any_other_message_stays_as_it_is(message: str) -> None:
    assert summary(message, 2000) == message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("short", "short"),
        ("exactly 10", "exactly 10"),
        ("just above ten", "just abov…"),
        ("two\r\nlines", "two lines"),
        ("\x1b]0;title\x07", "]0;title"),
        ("a\u202eb\u2028c\x00", "a b c"),
    ],
)
def test_plain_text_is_one_short_line_without_control_characters(text: str, expected: str) -> None:
    assert plain(text, 10) == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Duplicate entry of domain myapp.staging in route gateway", {"myapp.staging"}),
        ("Duplicate entry of domain myapp.staging. in route gateway", {"myapp.staging"}),
        ("Duplicate entry of domain myapp.staging.:* in route gateway", {"myapp.staging:*"}),
        ("Only a single wildcard domain is permitted in route gateway", {"is"}),
        ("no such filter", set()),
    ],
)
def test_domains_are_the_hosts_that_a_message_calls_so(message: str, expected: set[str]) -> None:
    assert domains(message) == expected
