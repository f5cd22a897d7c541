"""Options that several commands share. Every one is also an environment variable."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from xds_server.base.address import MAX_PORT
from xds_server.base.errors import UsageError
from xds_server.base.logs import LogFormat
from xds_server.core.hosts import CLUSTER_DOMAINS
from xds_server.core.values import is_host_name
from xds_server.server.config import SourceConfig

_PIPED_WIDTH = 200


class Output(StrEnum):
    """How `status` and `explain` print."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


Manifests = Annotated[
    list[Path] | None,
    typer.Option(
        envvar="XDS_SHADOW_MANIFESTS",
        help="Directory of ordinary Kubernetes YAML to read and watch instead of a cluster; repeatable.",
        show_default=False,
    ),
]
Kubeconfig = Annotated[
    Path | None,
    typer.Option(
        envvar="XDS_SHADOW_KUBECONFIG",
        help="Kubeconfig of the cluster to watch.",
        show_default="in-cluster, else $KUBECONFIG, else ~/.kube/config",
    ),
]
Context = Annotated[
    str | None,
    typer.Option(envvar="XDS_SHADOW_CONTEXT", help="Context of the kubeconfig.", show_default="current"),
]
Namespaces = Annotated[
    list[str] | None,
    typer.Option(
        "--namespace",
        "-n",
        envvar="XDS_SHADOW_NAMESPACE",
        help="Watch only this namespace of the cluster; repeatable.",
        show_default="all",
    ),
]
AllowLoopbackEndpoints = Annotated[
    bool,
    typer.Option(
        "--allow-loopback-endpoints",
        envvar="XDS_SHADOW_ALLOW_LOOPBACK_ENDPOINTS",
        help="Admit loopback addresses as endpoints of a cluster's objects, for a laptop; files always may.",
    ),
]
ClusterDomains = Annotated[
    list[str] | None,
    typer.Option(
        "--cluster-domain",
        envvar="XDS_SHADOW_CLUSTER_DOMAIN",
        metavar="DOMAIN",
        help="Domain of the cluster's DNS: SERVICE.NAMESPACE.svc.DOMAIN reaches the Service; repeatable.",
        show_default="cluster.local",
    ),
]
ExposeAll = Annotated[
    bool,
    typer.Option(
        "--expose-all",
        envvar="XDS_SHADOW_EXPOSE_ALL",
        help="Route every Service that has no xds-shadow.io/expose label, as does its Namespace.",
    ),
]
Policy = Annotated[
    Path | None,
    typer.Option(
        "--policy",
        envvar="XDS_SHADOW_POLICY",
        metavar="FILE",
        help='Defaults and bounds for every shadow, in YAML: percent: "5", percent-max: "10", …',
        show_default="none",
    ),
]
GatewayPort = Annotated[
    int,
    typer.Option(
        envvar="XDS_SHADOW_GATEWAY_PORT", min=1, max=MAX_PORT, help="Port of the Envoys' gateway listener."
    ),
]
Gateway = Annotated[
    Path | None,
    typer.Option(
        "--gateway",
        envvar="XDS_SHADOW_GATEWAY",
        metavar="FILE",
        help="The gateway's listeners and what they do to requests, in YAML: profile: hardened, …",
        show_default="profile: transparent",
    ),
]
RouteConfigs = Annotated[
    list[str] | None,
    typer.Option(
        "--route-config",
        envvar="XDS_SHADOW_ROUTE_CONFIG",
        metavar="NAME",
        help="A further route configuration, for listeners that Envoys have of their own; repeatable."
        " Services name those that they are on: xds-shadow.io/gateways.",
        show_default="none",
    ),
]
Server = Annotated[
    str,
    typer.Option(
        envvar="XDS_SHADOW_SERVER", metavar="HOST:PORT", help="Admin address of the running server."
    ),
]
TlsKey = Annotated[
    Path | None,
    typer.Option(envvar="XDS_SHADOW_TLS_KEY", metavar="FILE", help="Its key.", show_default=False),
]
LogFormatOption = Annotated[
    LogFormat,
    typer.Option("--log-format", envvar="XDS_SHADOW_LOG_FORMAT", help="auto: text on a terminal, else JSON."),
]
OutputOption = Annotated[
    Output, typer.Option("--output", "-o", envvar="XDS_SHADOW_OUTPUT", help="Form of the output.")
]


def cluster_domains_of(given: list[str] | None) -> tuple[str, ...]:
    """The domains that the option names, each once.

    Raises:
        UsageError: one of them is none.
    """
    found = tuple(dict.fromkeys(domain.lower().rstrip(".") for domain in given or CLUSTER_DOMAINS))
    for domain in found:
        if not is_host_name(domain):
            raise UsageError(f"--cluster-domain {domain!r} is not a domain, such as example.internal")
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
    """The source that these options name."""
    return SourceConfig(
        manifests=tuple(manifests or ()),
        kubeconfig=kubeconfig,
        context=context,
        namespaces=tuple(namespaces or ()),
        allow_loopback_endpoints=allow_loopback_endpoints,
        cluster_domains=cluster_domains_of(cluster_domains),
    )


def console() -> Console:
    """Standard output. Where it is piped, for other programs and for files: no folding at 80 columns."""
    return Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH, highlight=False)
