"""``xds-shadow serve``: the control plane."""

import asyncio
import secrets
import socket
from pathlib import Path
from typing import Annotated

import typer

from xds_server.base.address import parse_address, parse_addresses
from xds_server.base.errors import UsageError
from xds_server.base.logs import LogFormat, LogLevel, configure_logging
from xds_server.base.memory import expect_many_objects
from xds_server.cli.options import (
    ADDRESSES,
    EVENTS,
    PAGE,
    REPLICAS,
    TLS,
    AdminAddress,
    AllowLoopbackEndpoints,
    ClusterDomains,
    Context,
    ExposeAll,
    Gateway,
    GatewayPort,
    Kubeconfig,
    LogFormatOption,
    LogLevelOption,
    Manifests,
    Namespaces,
    Policy,
    ReadyFile,
    RouteConfigs,
    TlsKey,
    XdsAddress,
    source_of,
)
from xds_server.server.config import (
    DEFAULT_ADMIN_ADDRESS,
    DEFAULT_GATEWAY_PORT,
    DEFAULT_HTTP_ADDRESS,
    DEFAULT_PEER_ADDRESS,
    DEFAULT_XDS_ADDRESS,
    PEER_PORT,
    PLAIN,
    EventsConfig,
    PeersConfig,
    Security,
    ServeConfig,
    TlsFiles,
)


def serve(
    *,
    manifests: Manifests = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespaces = None,
    allow_loopback_endpoints: AllowLoopbackEndpoints = False,
    cluster_domain: ClusterDomains = None,
    policy: Policy = None,
    expose_all: ExposeAll = False,
    gateway: Gateway = None,
    gateway_port: GatewayPort = DEFAULT_GATEWAY_PORT,
    route_config: RouteConfigs = None,
    xds_address: XdsAddress = DEFAULT_XDS_ADDRESS,
    admin_address: AdminAddress = DEFAULT_ADMIN_ADDRESS,
    http_address: Annotated[
        str,
        typer.Option(
            "--http-address",
            envvar="XDS_SHADOW_HTTP_ADDRESS",
            metavar="HOST:PORT",
            help="Address of the HTTP server for the live page, /healthz, /readyz and /metrics. Port 0"
            " selects a free port.",
            rich_help_panel=ADDRESSES,
        ),
    ] = DEFAULT_HTTP_ADDRESS,
    own_addresses: Annotated[
        str,
        typer.Option(
            "--own-addresses",
            envvar=["XDS_SHADOW_OWN_ADDRESSES", "POD_IPS"],
            metavar="IP,…",
            help="Addresses of this control plane, such as those of its Pod and its Service. They are never"
            " accepted as endpoints.",
            show_default="the addresses on which it listens",
            rich_help_panel=ADDRESSES,
        ),
    ] = "",
    tls_cert: Annotated[
        Path | None,
        typer.Option(
            "--tls-cert",
            envvar="XDS_SHADOW_TLS_CERT",
            metavar="FILE",
            help="Certificate of the xDS server with its intermediate certificates (PEM). It is reloaded when"
            " the file changes.",
            show_default="plain text",
            rich_help_panel=TLS,
        ),
    ] = None,
    tls_key: TlsKey = None,
    tls_client_ca: Annotated[
        Path | None,
        typer.Option(
            "--tls-client-ca",
            envvar="XDS_SHADOW_TLS_CLIENT_CA",
            metavar="FILE",
            help="CA certificates by which the certificates of Envoys are verified (PEM).",
            show_default=False,
            rich_help_panel=TLS,
        ),
    ] = None,
    tls_clients: Annotated[
        Path | None,
        typer.Option(
            "--tls-clients",
            envvar="XDS_SHADOW_TLS_CLIENTS",
            metavar="FILE",
            help="YAML file of the namespaces that each client certificate may see, such as"
            ' "spiffe://example/gateway": [staging].',
            show_default="every certificate may see all namespaces",
            rich_help_panel=TLS,
        ),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure",
            envvar="XDS_SHADOW_INSECURE",
            help="Allow plain text on an --xds-address that is not loopback.",
            rich_help_panel=TLS,
        ),
    ] = False,
    plaintext_credentials: Annotated[
        bool,
        typer.Option(
            "--plaintext-credentials",
            envvar="XDS_SHADOW_PLAINTEXT_CREDENTIALS",
            help="Send the credentials of mirrored requests to Envoys over plain text too.",
            rich_help_panel=TLS,
        ),
    ] = False,
    page: Annotated[
        bool,
        typer.Option(
            "--page",
            envvar="XDS_SHADOW_PAGE",
            help="Serve the live page and /api/v1 on an --http-address that is not loopback.",
            rich_help_panel=PAGE,
        ),
    ] = False,
    api: Annotated[
        bool,
        typer.Option(
            "--api",
            envvar="XDS_SHADOW_API",
            help="Serve /api/v1/verdicts and /hooks/flagger on an --http-address that is not loopback.",
            rich_help_panel=PAGE,
        ),
    ] = False,
    page_host: Annotated[
        list[str] | None,
        typer.Option(
            "--page-host",
            envvar="XDS_SHADOW_PAGE_HOST",
            metavar="NAME",
            help="Additional host name of the live page. Requests for other hosts are answered with 421."
            " Repeatable.",
            show_default="localhost and the address",
            rich_help_panel=PAGE,
        ),
    ] = None,
    events: Annotated[
        bool,
        typer.Option(
            "--events/--no-events",
            envvar="XDS_SHADOW_EVENTS",
            help="Write Kubernetes Events about the states of shadows.",
            rich_help_panel=EVENTS,
        ),
    ] = True,
    lease_namespace: Annotated[
        str,
        typer.Option(
            "--lease-namespace",
            envvar=["XDS_SHADOW_LEASE_NAMESPACE", "POD_NAMESPACE"],
            metavar="NAME",
            help="Namespace of the replicas and of their Lease. The replica that holds the Lease writes the"
            " Events.",
            rich_help_panel=EVENTS,
        ),
    ] = "default",
    replica: Annotated[
        str | None,
        typer.Option(
            "--replica",
            envvar=["XDS_SHADOW_REPLICA", "POD_NAME"],
            metavar="NAME",
            help="Identity of this replica in the Lease.",
            show_default="the host name and a random suffix",
            rich_help_panel=EVENTS,
        ),
    ] = None,
    peers: Annotated[
        list[str] | None,
        typer.Option(
            "--peers",
            envvar="XDS_SHADOW_PEERS",
            metavar="HOST:PORT",
            help="The --peer-address of the other replicas, whose evidence is added to the verdicts, such as"
            " that of a headless Service. The name is resolved each time. Repeatable.",
            show_default="none: verdicts by the Envoys of this replica",
            rich_help_panel=REPLICAS,
        ),
    ] = None,
    peer_address: Annotated[
        str,
        typer.Option(
            "--peer-address",
            envvar="XDS_SHADOW_PEER_ADDRESS",
            metavar="HOST:PORT",
            help="With --peers: the address on which the other replicas ask for the evidence of this one."
            " With TLS they need a certificate with a name that --tls-cert has; without, an address to which"
            " --peers resolves.",
            rich_help_panel=REPLICAS,
        ),
    ] = DEFAULT_PEER_ADDRESS,
    ready_file: ReadyFile = None,
    log_format: LogFormatOption = LogFormat.AUTO,
    log_level: LogLevelOption = LogLevel.INFO,
) -> None:
    """Run the control plane.

    Watches Kubernetes objects and pushes Envoy configuration over ADS.
    """
    from xds_server.manifests.policy_file import read_policy

    # The import itself creates enough objects for collections that find nothing.
    expect_many_objects()
    from xds_server.server import app
    from xds_server.server.gateway_file import read_gateway

    configure_logging(log_format, level=log_level)
    name = replica or _replica_name()
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
        replica=name,
        peers=_peers(peers, peer_address),
        events=EventsConfig(identity=name, lease_namespace=lease_namespace) if events else None,
        ready_file=ready_file,
        security=_security(tls_cert, tls_key, tls_client_ca, tls_clients),
        insecure=insecure,
        plaintext_credentials=plaintext_credentials,
        page=page,
        api=api,
        own_addresses=parse_addresses(own_addresses, option="--own-addresses"),
        namespace=lease_namespace,
        page_hosts=tuple(name.lower() for name in page_host or ()),
    )
    asyncio.run(app.serve(config))


def _security(cert: Path | None, key: Path | None, client_ca: Path | None, clients: Path | None) -> Security:
    """The TLS settings that the options select.

    Raises:
        UsageError: an option is missing, or a file cannot be read.
    """
    from xds_server.server.identity import read_clients
    from xds_server.server.tls import Certificates

    if cert is None and key is None and client_ca is None:
        if clients is not None:
            raise UsageError("--tls-clients needs --tls-cert, --tls-key and --tls-client-ca")
        return PLAIN
    if cert is None or key is None or client_ca is None:
        raise UsageError(
            "--tls-cert, --tls-key and --tls-client-ca go together, because client certificates are always"
            " verified"
        )
    files = TlsFiles(certificate=cert, key=key, client_ca=client_ca)
    Certificates(files)  # Report unusable files before anything is started.
    return Security(tls=files, clients=read_clients(clients))


def _peers(given: list[str] | None, address: str) -> PeersConfig | None:
    """The other replicas that the options name.

    Raises:
        UsageError: a value is no address.
    """
    if not given:
        return None
    found = tuple(parse_address(each, option="--peers", example=PEER_PORT) for each in given)
    return PeersConfig(
        peers=found, address=parse_address(address, option="--peer-address", example=PEER_PORT)
    )


def _replica_name() -> str:
    return f"{socket.gethostname()}-{secrets.token_hex(4)}"
