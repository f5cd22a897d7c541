"""``xds-shadow serve``: the control plane."""

import asyncio
import secrets
import socket
from pathlib import Path
from typing import Annotated

import typer

from xds_server.base.address import parse_address, parse_addresses
from xds_server.base.errors import UsageError
from xds_server.base.logs import LogFormat, configure_logging
from xds_server.cli.options import (
    AllowLoopbackEndpoints,
    ClusterDomains,
    Context,
    ExposeAll,
    Gateway,
    GatewayPort,
    Kubeconfig,
    LogFormatOption,
    Manifests,
    Namespaces,
    Policy,
    RouteConfigs,
    TlsKey,
    source_of,
)
from xds_server.manifests.policy_file import read_policy
from xds_server.server.config import (
    DEFAULT_ADMIN_ADDRESS,
    DEFAULT_GATEWAY_PORT,
    DEFAULT_HTTP_ADDRESS,
    DEFAULT_XDS_ADDRESS,
    PLAIN,
    EventsConfig,
    Security,
    ServeConfig,
    TlsFiles,
)
from xds_server.server.gateway_file import read_gateway
from xds_server.server.identity import read_clients
from xds_server.server.tls import Certificates


def serve(
    *,
    manifests: Manifests = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespaces = None,
    allow_loopback_endpoints: AllowLoopbackEndpoints = False,
    cluster_domain: ClusterDomains = None,
    own_addresses: Annotated[
        str,
        typer.Option(
            envvar=["XDS_SHADOW_OWN_ADDRESSES", "POD_IPS"],
            metavar="IP,…",
            help="This control plane's own addresses, such as its Pod's and its Service's; never endpoints.",
            show_default="those that it listens on",
        ),
    ] = "",
    expose_all: ExposeAll = False,
    policy: Policy = None,
    xds_address: Annotated[
        str,
        typer.Option(
            envvar="XDS_SHADOW_XDS_ADDRESS",
            metavar="HOST:PORT",
            help="Where Envoys connect; port 0: any free.",
        ),
    ] = DEFAULT_XDS_ADDRESS,
    admin_address: Annotated[
        str,
        typer.Option(
            envvar="XDS_SHADOW_ADMIN_ADDRESS",
            metavar="HOST:PORT",
            help="Where `status` and `explain` connect (gRPC: status, health, reflection); port 0: any free.",
        ),
    ] = DEFAULT_ADMIN_ADDRESS,
    http_address: Annotated[
        str,
        typer.Option(
            envvar="XDS_SHADOW_HTTP_ADDRESS",
            metavar="HOST:PORT",
            help="Where the live page, /healthz, /readyz and /metrics are served (HTTP); port 0: any free.",
        ),
    ] = DEFAULT_HTTP_ADDRESS,
    gateway_port: GatewayPort = DEFAULT_GATEWAY_PORT,
    gateway: Gateway = None,
    route_config: RouteConfigs = None,
    events: Annotated[
        bool,
        typer.Option(
            envvar="XDS_SHADOW_EVENTS",
            help="Write Kubernetes Events that say what became of each label; nothing else is written.",
        ),
    ] = True,
    lease_namespace: Annotated[
        str,
        typer.Option(
            envvar=["XDS_SHADOW_LEASE_NAMESPACE", "POD_NAMESPACE"],
            help="Namespace of the replicas, and of the Lease by which they agree on who writes the Events.",
        ),
    ] = "default",
    replica: Annotated[
        str | None,
        typer.Option(
            envvar=["XDS_SHADOW_REPLICA", "POD_NAME"],
            help="Name of this replica in that Lease.",
            show_default="the host's, and a random part",
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None,
        typer.Option(
            envvar="XDS_SHADOW_TLS_CERT",
            metavar="FILE",
            help="Certificate for Envoys, with what leads to its root (PEM); read anew when it changes.",
            show_default="plain text",
        ),
    ] = None,
    tls_key: TlsKey = None,
    tls_client_ca: Annotated[
        Path | None,
        typer.Option(
            envvar="XDS_SHADOW_TLS_CLIENT_CA",
            metavar="FILE",
            help="Roots of the certificates that Envoys have to have.",
            show_default=False,
        ),
    ] = None,
    tls_clients: Annotated[
        Path | None,
        typer.Option(
            envvar="XDS_SHADOW_TLS_CLIENTS",
            metavar="FILE",
            help="Who may see which namespaces, in YAML: `spiffe://example/gateway: [staging]`.",
            show_default="every certificate sees everything",
        ),
    ] = None,
    page: Annotated[
        bool,
        typer.Option(
            "--page",
            envvar="XDS_SHADOW_PAGE",
            help="Serve the live page and /api/v1 though --http-address is not on loopback.",
        ),
    ] = False,
    page_host: Annotated[
        list[str] | None,
        typer.Option(
            envvar="XDS_SHADOW_PAGE_HOST",
            metavar="NAME",
            help="A name under which browsers open the live page; repeatable. Others are refused (421).",
            show_default="localhost, and the address",
        ),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure",
            envvar="XDS_SHADOW_INSECURE",
            help="Serve Envoys in plain text though --xds-address is not on loopback.",
        ),
    ] = False,
    plaintext_credentials: Annotated[
        bool,
        typer.Option(
            "--plaintext-credentials",
            envvar="XDS_SHADOW_PLAINTEXT_CREDENTIALS",
            help="Send the credentials of mirrored requests to Envoys though they are served in plain text.",
        ),
    ] = False,
    ready_file: Annotated[
        Path | None,
        typer.Option(
            envvar="XDS_SHADOW_READY_FILE",
            help="Write the addresses here as JSON once the server is ready.",
            show_default=False,
        ),
    ] = None,
    log_format: LogFormatOption = LogFormat.AUTO,
) -> None:
    """Run the control plane: watch Kubernetes objects, push Envoy configuration over ADS."""
    from xds_server.server import app

    configure_logging(log_format)
    config = ServeConfig(
        source=source_of(
            manifests,
            kubeconfig,
            context,
            namespace,
            allow_loopback_endpoints=allow_loopback_endpoints,
            cluster_domains=cluster_domain,
        ),
        expose_all=expose_all,
        policy=read_policy(policy),
        xds_address=parse_address(xds_address, option="--xds-address"),
        admin_address=parse_address(admin_address, option="--admin-address"),
        http_address=parse_address(http_address, option="--http-address"),
        gateway_port=gateway_port,
        gateway=read_gateway(gateway, gateway_port),
        gateway_file=gateway,
        route_configs=tuple(route_config or ()),
        events=EventsConfig(identity=replica or _replica_name(), lease_namespace=lease_namespace)
        if events
        else None,
        ready_file=ready_file,
        security=_security(tls_cert, tls_key, tls_client_ca, tls_clients),
        insecure=insecure,
        plaintext_credentials=plaintext_credentials,
        page=page,
        own_addresses=parse_addresses(own_addresses, option="--own-addresses"),
        namespace=lease_namespace,
        page_hosts=tuple(name.lower() for name in page_host or ()),
    )
    asyncio.run(app.serve(config))


def _security(cert: Path | None, key: Path | None, client_ca: Path | None, clients: Path | None) -> Security:
    """What the options say of TLS.

    Raises:
        UsageError: some of them are missing, or cannot be read.
    """
    if cert is None and key is None and client_ca is None:
        if clients is not None:
            raise UsageError("--tls-clients needs --tls-cert, --tls-key and --tls-client-ca")
        return PLAIN
    if cert is None or key is None or client_ca is None:
        raise UsageError("--tls-cert, --tls-key and --tls-client-ca go together: clients are always checked")
    files = TlsFiles(certificate=cert, key=key, client_ca=client_ca)
    Certificates(files)  # what cannot be used is told before anything is started
    return Security(tls=files, clients=read_clients(clients))


def _replica_name() -> str:
    return f"{socket.gethostname()}-{secrets.token_hex(4)}"
