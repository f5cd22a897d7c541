"""``xds-shadow bootstrap``: the bootstrap configuration of an Envoy."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xds_server.base.address import MAX_PORT, Address, ip_text, parse_address
from xds_server.base.errors import UsageError
from xds_server.cli.options import (
    CONTROL_PLANE,
    DEFAULT_CONTROL_PLANE,
    GATEWAY,
    NODE,
    TLS,
    GatewayPortOfEnvoy,
    NamespacesOfEnvoy,
    RouteConfigOfEnvoy,
    TlsKey,
    XdsAddressesOfEnvoy,
)
from xds_server.core.plan import GATEWAY as DEFAULT_ROUTE_CONFIG
from xds_server.server.config import check_namespaces, check_route_configs
from xds_server.xds.stream_events import Variant

if TYPE_CHECKING:
    from xds_server.translate.bootstrap import BootstrapTls

_ADMIN = "Admin interface and probes"


def bootstrap(
    *,
    node_id: Annotated[
        str,
        typer.Option(
            "--node-id",
            envvar="XDS_SHADOW_NODE_ID",
            metavar="ID",
            help="node.id: the name of this Envoy, shown by `status`.",
            rich_help_panel=NODE,
        ),
    ],
    node_cluster: Annotated[
        str,
        typer.Option(
            "--node-cluster",
            envvar="XDS_SHADOW_NODE_CLUSTER",
            metavar="NAME",
            help="node.cluster: the fleet to which this Envoy belongs.",
            rich_help_panel=NODE,
        ),
    ] = "xds-shadow",
    namespace: NamespacesOfEnvoy = None,
    xds_address: XdsAddressesOfEnvoy = None,
    mode: Annotated[
        Variant,
        typer.Option(
            "--mode",
            envvar="XDS_SHADOW_MODE",
            help="Variant of the xDS protocol: delta (incremental) or state of the world.",
            rich_help_panel=CONTROL_PLANE,
        ),
    ] = Variant.DELTA,
    gateway_port: GatewayPortOfEnvoy = None,
    gateway_address: Annotated[
        str | None,
        typer.Option(
            "--gateway-address",
            envvar="XDS_SHADOW_GATEWAY_ADDRESS",
            metavar="IP",
            help="Gateway address of this Envoy only, such as 127.0.0.1 for a sidecar.",
            show_default="all IPv4 addresses",
            rich_help_panel=GATEWAY,
        ),
    ] = None,
    routes_only: Annotated[
        bool,
        typer.Option(
            "--routes-only",
            envvar="XDS_SHADOW_ROUTES_ONLY",
            help="Print only the node, the connection to the control plane and the rds stanza, for an Envoy"
            " that defines its own listeners. Options of listeners, heap and admin interface have no effect.",
            rich_help_panel=GATEWAY,
        ),
    ] = False,
    route_config: RouteConfigOfEnvoy = DEFAULT_ROUTE_CONFIG,
    admin_port: Annotated[
        int,
        typer.Option(
            "--admin-port",
            envvar="XDS_SHADOW_ADMIN_PORT",
            metavar="PORT",
            min=0,
            max=MAX_PORT,
            help="Port of this Envoy's admin interface on 127.0.0.1. 0 selects a free port.",
            rich_help_panel=_ADMIN,
        ),
    ] = 9901,
    ready_port: Annotated[
        int | None,
        typer.Option(
            "--ready-port",
            envvar="XDS_SHADOW_READY_PORT",
            metavar="PORT",
            min=1,
            max=MAX_PORT,
            help="Port that accepts connections once Envoy has its configuration, for the readiness probe of"
            " a gateway on loopback.",
            show_default="none",
            rich_help_panel=_ADMIN,
        ),
    ] = None,
    stats_port: Annotated[
        int | None,
        typer.Option(
            "--stats-port",
            envvar="XDS_SHADOW_STATS_PORT",
            metavar="PORT",
            min=1,
            max=MAX_PORT,
            help="Port that serves only /stats/prometheus and /ready of the admin interface.",
            show_default="none",
            rich_help_panel=_ADMIN,
        ),
    ] = None,
    stats_address: Annotated[
        str | None,
        typer.Option(
            "--stats-address",
            envvar="XDS_SHADOW_STATS_ADDRESS",
            metavar="IP",
            help="Address of --stats-port. 0.0.0.0, or :: for IPv4 and IPv6, lets Prometheus connect from"
            " other hosts.",
            show_default="127.0.0.1",
            rich_help_panel=_ADMIN,
        ),
    ] = None,
    max_heap_mib: Annotated[
        int,
        typer.Option(
            "--max-heap-mib",
            envvar="XDS_SHADOW_MAX_HEAP_MIB",
            metavar="MIB",
            min=64,
            help="Heap size at which the overload manager sheds load.",
            rich_help_panel=_ADMIN,
        ),
    ] = 1024,
    tls_cert: Annotated[
        Path | None,
        typer.Option(
            "--tls-cert",
            envvar="XDS_SHADOW_TLS_CERT",
            metavar="FILE",
            help="Client certificate for the control plane (PEM), at its path on Envoy's host.",
            show_default="plain text",
            rich_help_panel=TLS,
        ),
    ] = None,
    tls_key: TlsKey = None,
    tls_ca: Annotated[
        Path | None,
        typer.Option(
            "--tls-ca",
            envvar="XDS_SHADOW_TLS_CA",
            metavar="FILE",
            help="CA certificates by which the control plane's certificate is verified (PEM).",
            show_default=False,
            rich_help_panel=TLS,
        ),
    ] = None,
    tls_server_name: Annotated[
        str | None,
        typer.Option(
            "--tls-server-name",
            envvar="XDS_SHADOW_TLS_SERVER_NAME",
            metavar="NAME",
            help="DNS name that the control plane's certificate must have.",
            show_default="the host of --xds-address",
            rich_help_panel=TLS,
        ),
    ] = None,
    sds_dir: Annotated[
        Path | None,
        typer.Option(
            "--sds-dir",
            envvar="XDS_SHADOW_SDS_DIR",
            metavar="DIR",
            help="Directory to which two SDS files are written. With them Envoy reloads its certificates"
            " without a restart.",
            show_default="sds, beside the certificate",
            rich_help_panel=TLS,
        ),
    ] = None,
    sds_mount: Annotated[
        Path | None,
        typer.Option(
            "--sds-mount",
            envvar="XDS_SHADOW_SDS_MOUNT",
            metavar="DIR",
            help="Path of that directory on Envoy's host, such as in its container.",
            show_default="--sds-dir",
            rich_help_panel=TLS,
        ),
    ] = None,
) -> None:
    """Print the bootstrap configuration of an Envoy.

    An Envoy that is started with `envoy --config-path` and this file connects to the control plane.
    """
    from xds_server.translate.bootstrap import BootstrapOptions, bootstrap_yaml, routes_only_yaml

    addresses = [
        parse_address(each, option="--xds-address") for each in xds_address or [DEFAULT_CONTROL_PLANE]
    ]
    if gateway_address is not None and ip_text(gateway_address) is None:
        raise UsageError(f"--gateway-address: {gateway_address!r} is not an IP address")
    check_route_configs([route_config])
    check_namespaces(namespace or ())
    options = BootstrapOptions(
        node_id=node_id,
        node_cluster=node_cluster,
        xds_address=addresses[0],
        further_xds_addresses=tuple(addresses[1:]),
        namespaces=tuple(namespace or ()),
        mode=mode,
        admin_port=admin_port,
        gateway_port=gateway_port,
        gateway_address=gateway_address,
        ready_port=ready_port,
        stats=_stats(stats_address, stats_port, admin_port),
        max_heap_mib=max_heap_mib,
        route_config=route_config,
    )
    if tls_cert or tls_key or tls_ca:
        if not (tls_cert and tls_key and tls_ca):
            raise UsageError("--tls-cert, --tls-key and --tls-ca go together")
        tls = _with_sds_files(
            tls_cert,
            tls_key,
            tls_ca,
            server_name=tls_server_name or addresses[0].host,
            directory=sds_dir or tls_cert.parent / "sds",
            mount=sds_mount,
        )
        options = replace(options, tls=tls)
    typer.echo(routes_only_yaml(options) if routes_only else bootstrap_yaml(options), nl=False)


def _stats(address: str | None, port: int | None, admin_port: int) -> Address | None:
    if address is not None and ip_text(address) is None:
        raise UsageError(f"--stats-address: {address!r} is not an IP address")
    if address is not None and port is None:
        raise UsageError("--stats-address needs --stats-port")
    if port is not None and admin_port == 0:
        raise UsageError("--stats-port serves parts of the admin interface; give --admin-port, and not 0")
    return None if port is None else Address(address or "127.0.0.1", port)


def _with_sds_files(
    certificate: Path, key: Path, ca: Path, *, server_name: str, directory: Path, mount: Path | None
) -> "BootstrapTls":
    """The TLS settings of the bootstrap, after their SDS files are written to `directory`.

    Raises:
        UsageError: the files cannot be written.
    """
    from xds_server.translate.bootstrap import BootstrapTls, sds_files

    tls = BootstrapTls(
        certificate=certificate, key=key, ca=ca, server_name=server_name, sds=mount or directory
    )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in sds_files(tls).items():
            (directory / name).write_text(text)
    except OSError as error:
        raise UsageError(f"--sds-dir {directory}: {error.strerror or error}") from error
    return tls
