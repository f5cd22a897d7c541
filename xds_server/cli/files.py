"""``xds-shadow bootstrap``, ``render`` and ``convert``: texts to go on with."""

import asyncio
import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from xds_server.base.address import MAX_PORT, Address, ip_text, parse_address
from xds_server.base.errors import UsageError, XdsShadowError
from xds_server.base.logs import LogFormat, configure_logging
from xds_server.cli.convert.form import Output
from xds_server.cli.options import (
    AllowLoopbackEndpoints,
    ClusterDomains,
    Context,
    ExposeAll,
    Gateway,
    GatewayPort,
    Kubeconfig,
    Manifests,
    Namespaces,
    Policy,
    RouteConfigs,
    TlsKey,
    cluster_domains_of,
    source_of,
)
from xds_server.core.plan import GATEWAY
from xds_server.manifests.policy_file import read_policy
from xds_server.server.config import DEFAULT_GATEWAY_PORT, Form, check_route_configs
from xds_server.xds.stream_events import Variant

_DEFAULT_CONTROL_PLANE = "127.0.0.1:18000"

_NAMED = 3
"""Exit code of `convert` where something is not carried over."""


def bootstrap(
    *,
    node_id: Annotated[
        str, typer.Option(envvar="XDS_SHADOW_NODE_ID", help="Name of this Envoy, shown by `status`.")
    ],
    xds_address: Annotated[
        list[str] | None,
        typer.Option(
            envvar="XDS_SHADOW_XDS_ADDRESS",
            metavar="HOST:PORT",
            help="Address of the control plane; given again, of a further replica.",
            show_default=_DEFAULT_CONTROL_PLANE,
        ),
    ] = None,
    mode: Annotated[
        Variant, typer.Option(envvar="XDS_SHADOW_MODE", help="Variant of the xDS protocol.")
    ] = Variant.DELTA,
    admin_port: Annotated[
        int,
        typer.Option(
            envvar="XDS_SHADOW_ADMIN_PORT",
            min=0,
            max=MAX_PORT,
            help="Port of this Envoy's own admin interface on 127.0.0.1; 0: any free.",
        ),
    ] = 9901,
    gateway_port: Annotated[
        int | None,
        typer.Option(
            envvar="XDS_SHADOW_GATEWAY_PORT",
            min=1,
            max=MAX_PORT,
            help="Gateway port of this Envoy alone, where several run on one host.",
            show_default="the control plane's",
        ),
    ] = None,
    gateway_address: Annotated[
        str | None,
        typer.Option(
            envvar="XDS_SHADOW_GATEWAY_ADDRESS",
            metavar="IP",
            help="Where the gateway of this Envoy alone listens: 127.0.0.1 beside one application.",
            show_default="all IPv4 addresses",
        ),
    ] = None,
    ready_port: Annotated[
        int | None,
        typer.Option(
            envvar="XDS_SHADOW_READY_PORT",
            min=1,
            max=MAX_PORT,
            help="Take connections here once Envoy was configured, for a probe of a gateway on loopback.",
            show_default="none",
        ),
    ] = None,
    stats_port: Annotated[
        int | None,
        typer.Option(
            envvar="XDS_SHADOW_STATS_PORT",
            min=1,
            max=MAX_PORT,
            help="Serve /stats/prometheus and /ready here, and nothing else of the admin interface.",
            show_default="none",
        ),
    ] = None,
    stats_address: Annotated[
        str,
        typer.Option(
            envvar="XDS_SHADOW_STATS_ADDRESS",
            metavar="IP",
            help="Address of --stats-port: 0.0.0.0, or :: for both families, where Prometheus is elsewhere.",
        ),
    ] = "127.0.0.1",
    namespace: Annotated[
        list[str] | None,
        typer.Option(
            envvar="XDS_SHADOW_NODE_NAMESPACE",
            help="Send this Envoy only what belongs to this namespace; may be given again.",
            show_default="all namespaces",
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None,
        typer.Option(
            envvar="XDS_SHADOW_TLS_CERT",
            metavar="FILE",
            help="Envoy's certificate for the control plane (PEM), as Envoy finds it.",
            show_default="plain text",
        ),
    ] = None,
    tls_key: TlsKey = None,
    tls_ca: Annotated[
        Path | None,
        typer.Option(
            envvar="XDS_SHADOW_TLS_CA",
            metavar="FILE",
            help="Roots of the control plane's certificate.",
            show_default=False,
        ),
    ] = None,
    tls_server_name: Annotated[
        str | None,
        typer.Option(
            envvar="XDS_SHADOW_TLS_SERVER_NAME",
            help="DNS name that the control plane's certificate has to have.",
            show_default="the host of --xds-address",
        ),
    ] = None,
    sds_dir: Annotated[
        Path | None,
        typer.Option(
            envvar="XDS_SHADOW_SDS_DIR",
            metavar="DIR",
            help="Write two files here by which Envoy takes new certificates without a restart.",
            show_default="sds, beside the certificate",
        ),
    ] = None,
    sds_mount: Annotated[
        Path | None,
        typer.Option(
            envvar="XDS_SHADOW_SDS_MOUNT",
            metavar="DIR",
            help="Where Envoy finds these two files, as in a container.",
            show_default="--sds-dir",
        ),
    ] = None,
    routes_only: Annotated[
        bool,
        typer.Option(
            "--routes-only",
            envvar="XDS_SHADOW_ROUTES_ONLY",
            help="Print what an Envoy with listeners of its own needs: its way to the control plane, and rds."
            " Options of listeners, heap and admin interface have no effect.",
        ),
    ] = False,
    route_config: Annotated[
        str,
        typer.Option(
            envvar="XDS_SHADOW_NODE_ROUTE_CONFIG",
            metavar="NAME",
            help="With --routes-only: the route configuration that its listeners have.",
        ),
    ] = GATEWAY,
    node_cluster: Annotated[
        str, typer.Option(envvar="XDS_SHADOW_NODE_CLUSTER", help="node.cluster: the fleet it belongs to.")
    ] = "xds-shadow",
    max_heap_mib: Annotated[
        int, typer.Option(envvar="XDS_SHADOW_MAX_HEAP_MIB", min=64, help="Heap at which Envoy sheds load.")
    ] = 1024,
) -> None:
    """Print the bootstrap of an Envoy that joins the fleet, for `envoy --config-path`."""
    from xds_server.translate.bootstrap import (
        BootstrapOptions,
        BootstrapTls,
        bootstrap_yaml,
        routes_only_yaml,
        sds_files,
    )

    addresses = [
        parse_address(each, option="--xds-address") for each in xds_address or [_DEFAULT_CONTROL_PLANE]
    ]
    if gateway_address is not None and ip_text(gateway_address) is None:
        raise UsageError(f"--gateway-address: {gateway_address!r} is not an IP address")
    check_route_configs([route_config])
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
        directory = sds_dir or tls_cert.parent / "sds"
        tls = BootstrapTls(
            certificate=tls_cert,
            key=tls_key,
            ca=tls_ca,
            server_name=tls_server_name or addresses[0].host,
            sds=sds_mount or directory,
        )
        options = replace(options, tls=tls)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            for name, text in sds_files(tls).items():
                (directory / name).write_text(text)
        except OSError as error:
            raise UsageError(f"--sds-dir {directory}: {error.strerror or error}") from error
    typer.echo(routes_only_yaml(options) if routes_only else bootstrap_yaml(options), nl=False)


def _stats(address: str, port: int | None, admin_port: int) -> Address | None:
    if ip_text(address) is None:
        raise UsageError(f"--stats-address: {address!r} is not an IP address")
    if port is not None and admin_port == 0:
        raise UsageError("--stats-port hands on what the admin interface says; give --admin-port, and not 0")
    return None if port is None else Address(address, port)


def render_command(
    *,
    manifests: Manifests = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespaces = None,
    allow_loopback_endpoints: AllowLoopbackEndpoints = False,
    cluster_domain: ClusterDomains = None,
    expose_all: ExposeAll = False,
    policy: Policy = None,
    gateway_port: GatewayPort = DEFAULT_GATEWAY_PORT,
    gateway: Gateway = None,
    route_config: RouteConfigs = None,
    output: Annotated[
        Form,
        typer.Option(
            "--output", "-o", help="static: one file for `envoy --config-path`, nothing left to discovery."
        ),
    ] = Form.YAML,
) -> None:
    """Print what would be pushed, once, without serving it. Problems and notices go to standard error."""
    from xds_server.server.gateway_file import read_gateway
    from xds_server.server.render import render
    from xds_server.server.wiring import read_once

    configure_logging(LogFormat.AUTO, level=logging.WARNING)
    source = source_of(
        manifests,
        kubeconfig,
        context,
        namespace,
        allow_loopback_endpoints=allow_loopback_endpoints,
        cluster_domains=cluster_domain,
    )
    rules = read_policy(policy)
    further = tuple(route_config or ())
    check_route_configs(further)
    published = asyncio.run(
        read_once(
            source,
            gateway_port=gateway_port,
            gateway=read_gateway(gateway, gateway_port),
            route_configs=further,
            expose_all=expose_all,
            policy=rules,
        )
    )
    for problem in published.problems():
        where = " ".join(part for part in (problem.origin, problem.subject) if part)
        typer.echo(f"{where}: {problem.reason}: {problem.message}", err=True)
    for notice in published.notices():
        typer.echo(f"{notice.subject}: notice: {notice.reason}: {notice.message}", err=True)
    typer.echo(render(published.snapshot, output), nl=False)


def convert_command(
    *,
    filename: Annotated[
        list[Path],
        typer.Option(
            "--filename",
            "-f",
            metavar="FILE",
            help="YAML of the documents with mirrors, of all others for the same hosts, and of the Services"
            " and Deployments behind them; - for standard input; repeatable.",
        ),
    ],
    output: Annotated[
        Output,
        typer.Option("--output", "-o", help="yaml: patches for a kustomization, instead of lines to type."),
    ] = Output.KUBECTL,
    cluster_domain: ClusterDomains = None,
) -> None:
    """Print what to type instead of mirrors of Istio, Flagger, Emissary, Contour, ingress-nginx, Gateway API,
    Apache APISIX or Consul. Exit code 3: something is not carried over, and named in a comment; 1: nothing
    can be."""
    from xds_server.cli.convert.convert import READERS, convert
    from xds_server.manifests.documents import documents

    found: list[object] = []
    for path in filename:
        try:
            data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        except OSError as error:
            raise UsageError(f"--filename {path}: {error.strerror or error}") from error
        found += documents(str(path), data)
    docs = [each for each in found if isinstance(each, dict)]
    converted = convert(docs, output, cluster_domains_of(cluster_domain))
    if not converted.mirrors:
        kinds = ", ".join(kind for reader in READERS for kind in reader.kinds)
        raise XdsShadowError(f"no mirror in {len(found)} documents; looked for {kinds}")
    typer.echo("\n".join(converted.lines))
    typer.echo(f"mirrors: {converted.mirrors}, of which lines run for {converted.running}", err=True)
    if not converted.whole:
        raise typer.Exit(_NAMED if converted.running else 1)
