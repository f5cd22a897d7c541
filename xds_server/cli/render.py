"""``xds-shadow render``: the Envoy configuration of a set of objects, without serving it."""

import asyncio
from typing import Annotated

import typer

from xds_server.base.logs import LogFormat, LogLevel, configure_logging
from xds_server.cli.options import (
    OUTPUT,
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
    source_of,
)
from xds_server.core.conditions import Severity
from xds_server.core.plan import State
from xds_server.server.config import DEFAULT_GATEWAY_PORT, RenderFormat, check_route_configs


def render(
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
        RenderFormat,
        typer.Option(
            "--output",
            "-o",
            help="Output format. static: one static configuration for `envoy --config-path`, without xDS.",
            rich_help_panel=OUTPUT,
        ),
    ] = RenderFormat.YAML,
) -> None:
    """Print the Envoy configuration without serving it.

    Reads the objects once. Rejected shadows, problems and notices are printed to standard error.
    """
    from xds_server.manifests.policy_file import read_policy
    from xds_server.server import render as rendering
    from xds_server.server.gateway_file import read_gateway
    from xds_server.server.wiring import read_once

    configure_logging(LogFormat.AUTO, level=LogLevel.WARNING)
    route_configs = tuple(route_config or ())
    check_route_configs(route_configs)
    published = asyncio.run(
        read_once(
            source_of(
                manifests,
                kubeconfig,
                context,
                namespace,
                allow_loopback_endpoints=allow_loopback_endpoints,
                cluster_domains=cluster_domain,
            ),
            gateway_port=gateway_port,
            gateway=read_gateway(gateway, gateway_port),
            route_configs=route_configs,
            expose_all=expose_all,
            policy=read_policy(policy),
        )
    )
    for each in published.conditions():
        where = " ".join(part for part in (each.origin, str(each.subject)) if part)
        notice = "notice: " if each.severity is Severity.INFO else ""
        typer.echo(f"{where}: {notice}{each.reason}: {each.message}", err=True)
    for shadow in published.plan.shadows():
        if shadow.state is State.REJECTED:
            name = f"{shadow.kind} {shadow.namespace}/{shadow.name}"
            typer.echo(f"{name}: {shadow.state}: {shadow.reason}: {shadow.message}", err=True)
    typer.echo(rendering.render(published.snapshot, output), nl=False)
