"""The options that more than one command has, and what the commands make of them.

`serve` and `bootstrap` have options of one name with two meanings: one is of the server, the other of one
Envoy. Both are here, and the environment variables of an Envoy begin with XDS_SHADOW_NODE_.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from xds_server.base.address import MAX_PORT, Address, parse_address
from xds_server.base.errors import UsageError
from xds_server.base.logs import LogFormat, LogLevel
from xds_server.core.hosts import CLUSTER_DOMAINS
from xds_server.core.values import is_host_name
from xds_server.server.config import ADMIN_PORT, SourceConfig

# The headings of `--help`.
SOURCE = "Source of objects"
POLICY = "Services and shadows"
ADDRESSES = "Addresses"
GATEWAY = "Gateway"
TLS = "TLS"
EVENTS = "Kubernetes Events"
REPLICAS = "Replicas"
PAGE = "Live page and API"
CONTROL_PLANE = "Control plane"
OUTPUT = "Output"
NODE = "Node"

DEFAULT_CONTROL_PLANE: Final = "127.0.0.1:18000"


class Output(StrEnum):
    """The output formats of `status` and `explain`."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


Manifests = Annotated[
    list[Path] | None,
    typer.Option(
        "--manifests",
        envvar="XDS_SHADOW_MANIFESTS",
        metavar="DIR",
        help="Directory of Kubernetes YAML to watch instead of a cluster. Repeatable.",
        show_default=False,
        rich_help_panel=SOURCE,
    ),
]
Kubeconfig = Annotated[
    Path | None,
    typer.Option(
        "--kubeconfig",
        envvar="XDS_SHADOW_KUBECONFIG",
        metavar="FILE",
        help="Kubeconfig of the cluster to watch.",
        show_default="in-cluster, else $KUBECONFIG, else ~/.kube/config",
        rich_help_panel=SOURCE,
    ),
]
Context = Annotated[
    str | None,
    typer.Option(
        "--context",
        envvar="XDS_SHADOW_CONTEXT",
        metavar="NAME",
        help="Context of the kubeconfig.",
        show_default="the current context",
        rich_help_panel=SOURCE,
    ),
]
Namespaces = Annotated[
    list[str] | None,
    typer.Option(
        "--namespace",
        "-n",
        envvar="XDS_SHADOW_NAMESPACE",
        metavar="NAME",
        help="Namespace of the cluster to watch. Repeatable.",
        show_default="all namespaces",
        rich_help_panel=SOURCE,
    ),
]
NamespacesOfEnvoy = Annotated[
    list[str] | None,
    typer.Option(
        "--namespace",
        envvar="XDS_SHADOW_NODE_NAMESPACE",
        metavar="NAME",
        help="Send this Envoy only the resources of this namespace. Repeatable.",
        show_default="all namespaces",
        rich_help_panel=NODE,
    ),
]
AllowLoopbackEndpoints = Annotated[
    bool,
    typer.Option(
        "--allow-loopback-endpoints",
        envvar="XDS_SHADOW_ALLOW_LOOPBACK_ENDPOINTS",
        help="Accept loopback addresses as endpoints of a cluster's objects, for use on a laptop. They are"
        " always accepted from --manifests.",
        rich_help_panel=SOURCE,
    ),
]
ClusterDomains = Annotated[
    list[str] | None,
    typer.Option(
        "--cluster-domain",
        envvar="XDS_SHADOW_CLUSTER_DOMAIN",
        metavar="DOMAIN",
        help="Domain of the cluster's DNS: a Service is reached at SERVICE.NAMESPACE.svc.DOMAIN. Repeatable.",
        show_default="cluster.local",
        rich_help_panel=SOURCE,
    ),
]
ExposeAll = Annotated[
    bool,
    typer.Option(
        "--expose-all",
        envvar="XDS_SHADOW_EXPOSE_ALL",
        help="Route every Service for which neither the Service nor its Namespace has an xds-shadow.io/expose"
        " label.",
        rich_help_panel=POLICY,
    ),
]
Policy = Annotated[
    Path | None,
    typer.Option(
        "--policy",
        envvar="XDS_SHADOW_POLICY",
        metavar="FILE",
        help='YAML file of defaults and bounds for all shadows, such as percent: "5" and percent-max: "10".',
        show_default="none",
        rich_help_panel=POLICY,
    ),
]
XdsAddress = Annotated[
    str,
    typer.Option(
        "--xds-address",
        envvar="XDS_SHADOW_XDS_ADDRESS",
        metavar="HOST:PORT",
        help="Address of the xDS server, to which Envoys connect. Port 0 selects a free port.",
        rich_help_panel=ADDRESSES,
    ),
]
XdsAddressesOfEnvoy = Annotated[
    list[str] | None,
    typer.Option(
        "--xds-address",
        envvar="XDS_SHADOW_NODE_XDS_ADDRESS",
        metavar="HOST:PORT",
        help="Address of the control plane. Repeat it for each further replica.",
        show_default=DEFAULT_CONTROL_PLANE,
        rich_help_panel=CONTROL_PLANE,
    ),
]
AdminAddress = Annotated[
    str,
    typer.Option(
        "--admin-address",
        envvar="XDS_SHADOW_ADMIN_ADDRESS",
        metavar="HOST:PORT",
        help="Address of the gRPC server for status, health and reflection, to which `status` and `explain`"
        " connect. Port 0 selects a free port.",
        rich_help_panel=ADDRESSES,
    ),
]
GatewayPort = Annotated[
    int,
    typer.Option(
        "--gateway-port",
        envvar="XDS_SHADOW_GATEWAY_PORT",
        metavar="PORT",
        min=1,
        max=MAX_PORT,
        help="Port of the Envoys' gateway listener.",
        rich_help_panel=GATEWAY,
    ),
]
GatewayPortOfEnvoy = Annotated[
    int | None,
    typer.Option(
        "--gateway-port",
        envvar="XDS_SHADOW_NODE_GATEWAY_PORT",
        metavar="PORT",
        min=1,
        max=MAX_PORT,
        help="Gateway port of this Envoy only, for several Envoys on one host.",
        show_default="that of the control plane",
        rich_help_panel=GATEWAY,
    ),
]
Gateway = Annotated[
    Path | None,
    typer.Option(
        "--gateway",
        envvar="XDS_SHADOW_GATEWAY",
        metavar="FILE",
        help="YAML file of the gateway's listeners and HTTP settings, such as profile: hardened.",
        show_default="profile: transparent",
        rich_help_panel=GATEWAY,
    ),
]
RouteConfigs = Annotated[
    list[str] | None,
    typer.Option(
        "--route-config",
        envvar="XDS_SHADOW_ROUTE_CONFIG",
        metavar="NAME",
        help="Additional route configuration, for listeners that are defined outside of xds-shadow. Services"
        " select it with the annotation xds-shadow.io/gateways. Repeatable.",
        show_default="none",
        rich_help_panel=GATEWAY,
    ),
]
RouteConfigOfEnvoy = Annotated[
    str,
    typer.Option(
        "--route-config",
        envvar="XDS_SHADOW_NODE_ROUTE_CONFIG",
        metavar="NAME",
        help="With --routes-only: the route configuration of this Envoy's listeners.",
        rich_help_panel=GATEWAY,
    ),
]
TlsKey = Annotated[
    Path | None,
    typer.Option(
        "--tls-key",
        envvar="XDS_SHADOW_TLS_KEY",
        metavar="FILE",
        help="Private key of --tls-cert (PEM).",
        show_default=False,
        rich_help_panel=TLS,
    ),
]
ReadyFile = Annotated[
    Path | None,
    typer.Option(
        "--ready-file",
        envvar="XDS_SHADOW_READY_FILE",
        metavar="FILE",
        help="File to which the server writes its addresses as JSON once it is ready.",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
LogFormatOption = Annotated[
    LogFormat,
    typer.Option(
        "--log-format",
        envvar="XDS_SHADOW_LOG_FORMAT",
        help="Format of the log. auto: text on a terminal, JSON otherwise.",
        rich_help_panel=OUTPUT,
    ),
]
LogLevelOption = Annotated[
    LogLevel,
    typer.Option(
        "--log-level",
        envvar="XDS_SHADOW_LOG_LEVEL",
        help="The least severe lines that are logged.",
        rich_help_panel=OUTPUT,
    ),
]
OutputOption = Annotated[
    Output,
    typer.Option("--output", "-o", envvar="XDS_SHADOW_OUTPUT", help="Output format.", rich_help_panel=OUTPUT),
]

_SERVER = typer.Option(
    "--server",
    envvar="XDS_SHADOW_SERVER",
    metavar="HOST:PORT",
    help="Address of the control plane: its --admin-address.",
    rich_help_panel=CONTROL_PLANE,
)
Server = Annotated[str, _SERVER]

ServerOfPlugin = Annotated[str | None, _SERVER]
"""Without it the plugin opens a port-forward."""

ShownNamespace = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        "-n",
        metavar="NAME",
        help="Namespace whose shadows are shown.",
        show_default="all namespaces",
        rich_help_panel=OUTPUT,
    ),
]


def server_address(text: str) -> Address:
    """The value of ``--server``.

    Raises:
        UsageError: it is not an address.
    """
    return parse_address(text, option="--server", example=ADMIN_PORT)


def cluster_domains_of(given: list[str] | None) -> tuple[str, ...]:
    """The values of ``--cluster-domain`` without duplicates, or the default.

    Raises:
        UsageError: a value is not a domain name.
    """
    found = tuple(dict.fromkeys(domain.lower().rstrip(".") for domain in given or CLUSTER_DOMAINS))
    for domain in found:
        if not is_host_name(domain):
            raise UsageError(f"--cluster-domain {domain!r} is not a domain name, such as example.internal")
    return found


def source_of(
    manifests: list[Path] | None,
    kubeconfig: Path | None,
    context: str | None,
    namespaces: list[str] | None,
    *,
    allow_loopback_endpoints: bool = False,
    cluster_domains: list[str] | None = None,
) -> SourceConfig:
    """The source of objects that these options select.

    Raises:
        UsageError: the options contradict each other, or a value is invalid.
    """
    return SourceConfig(
        manifests=tuple(manifests or ()),
        kubeconfig=kubeconfig,
        context=context,
        namespaces=tuple(namespaces or ()),
        allow_loopback_endpoints=allow_loopback_endpoints,
        cluster_domains=cluster_domains_of(cluster_domains),
    )
