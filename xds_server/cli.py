"""The command line. Every option is also an environment variable; an error says what to do about it.

Exit codes: 0 done, 1 the work failed, 2 wrong usage.

Commands import what only they need when they run: `status` does not wait for Kubernetes' client to load.
"""

import asyncio
import contextlib
import importlib.metadata
import json
import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Coroutine
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
import yaml
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console, RenderableType
from rich.live import Live

from xds_server.ads.events import Variant
from xds_server.base.address import MAX_PORT, parse_address
from xds_server.base.errors import UsageError, XdsShadowError
from xds_server.base.ids import TypeUrl
from xds_server.config import (
    DEFAULT_ADMIN_ADDRESS,
    DEFAULT_GATEWAY_PORT,
    DEFAULT_HTTP_ADDRESS,
    DEFAULT_KUBE_ADDRESS,
    DEFAULT_XDS_ADDRESS,
    PLAIN,
    EventsConfig,
    Form,
    Security,
    ServeConfig,
    SourceConfig,
    TlsFiles,
)
from xds_server.display import explanation_view, status_view
from xds_server.logs import LogFormat, configure_logging
from xds_server.serving.identity import read_clients
from xds_server.serving.tls import Certificates
from xds_server.sources.policy_file import read_policy
from xds_server.status_client import get_explanation, get_status

_WATCH_EVERY_S = 1.0
_PIPED_WIDTH = 200
_DEFAULT_CONTROL_PLANE = "127.0.0.1:18000"
_INTERRUPTED = 130  # what shells report of Ctrl-C

cli = typer.Typer(
    name="xds-shadow",
    help="Traffic shadowing for Envoy fleets on Kubernetes, without a mesh.\n\n"
    "Label a canary Deployment with xds-shadow.io/shadow-of=SERVICE, and every connected Envoy copies the"
    " Service's live requests to it; users only ever see the stable version's answers.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
Server = Annotated[
    str,
    typer.Option(
        envvar="XDS_SHADOW_SERVER", metavar="HOST:PORT", help="Admin address of the running server."
    ),
]
OutputOption = Annotated[
    Output, typer.Option("--output", "-o", envvar="XDS_SHADOW_OUTPUT", help="Form of the output.")
]


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it
    if wanted:
        typer.echo(f"xds-shadow {importlib.metadata.version('xds-shadow')}")
        raise typer.Exit


@cli.callback()
def _root(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@cli.command()
def serve(
    *,
    manifests: Manifests = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespaces = None,
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
            help="Where /healthz, /readyz and /metrics are served over HTTP; port 0: any free.",
        ),
    ] = DEFAULT_HTTP_ADDRESS,
    gateway_port: GatewayPort = DEFAULT_GATEWAY_PORT,
    workers: Annotated[
        int,
        typer.Option(
            envvar="XDS_SHADOW_WORKERS",
            min=1,
            max=64,
            help="Processes that serve Envoys, on one port; more pay off from about a thousand Envoys on.",
        ),
    ] = 1,
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
            help="Namespace of the Lease by which replicas agree on who writes the Events.",
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
    tls_key: Annotated[
        Path | None,
        typer.Option(envvar="XDS_SHADOW_TLS_KEY", metavar="FILE", help="Its key.", show_default=False),
    ] = None,
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
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure",
            envvar="XDS_SHADOW_INSECURE",
            help="Serve Envoys in plain text though --xds-address is not on loopback.",
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
    log_format: Annotated[
        LogFormat,
        typer.Option(envvar="XDS_SHADOW_LOG_FORMAT", help="auto: text on a terminal, else JSON."),
    ] = LogFormat.AUTO,
) -> None:
    """Run the control plane: watch Kubernetes objects, push Envoy configuration over ADS."""
    from xds_server import app

    configure_logging(log_format)
    config = ServeConfig(
        source=_source(manifests, kubeconfig, context, namespace),
        expose_all=expose_all,
        policy=read_policy(policy),
        xds_address=parse_address(xds_address, option="--xds-address"),
        admin_address=parse_address(admin_address, option="--admin-address"),
        http_address=parse_address(http_address, option="--http-address"),
        gateway_port=gateway_port,
        workers=workers,
        events=EventsConfig(identity=replica or _replica_name(), lease_namespace=lease_namespace)
        if events
        else None,
        ready_file=ready_file,
        security=_security(tls_cert, tls_key, tls_client_ca, tls_clients),
        insecure=insecure,
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


@cli.command()
def demo(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Tell the story once and exit: 0 only if all of it happened.")
    ] = False,
    manifests: Annotated[
        Path | None,
        typer.Option(
            envvar="XDS_SHADOW_DEMO_MANIFESTS",
            help="Directory of the example: another version of its four files.",
            show_default="the packaged one",
        ),
    ] = None,
    gateway_port: Annotated[
        list[int] | None,
        typer.Option(
            envvar="XDS_SHADOW_DEMO_GATEWAY_PORT",
            min=1,
            max=MAX_PORT,
            help="Gateway port of the delta Envoy; given again, of the state-of-the-world Envoy.",
            show_default="free ones",
        ),
    ] = None,
    kube_address: Annotated[
        str,
        typer.Option(envvar="XDS_SHADOW_KUBE_ADDRESS", metavar="HOST:PORT", help="Where kubectl connects."),
    ] = "127.0.0.1:0",
    xds_address: Annotated[
        str, typer.Option(envvar="XDS_SHADOW_XDS_ADDRESS", metavar="HOST:PORT", help="Where Envoys connect.")
    ] = "127.0.0.1:0",
    admin_address: Annotated[
        str,
        typer.Option(envvar="XDS_SHADOW_ADMIN_ADDRESS", metavar="HOST:PORT", help="Where `status` connects."),
    ] = "127.0.0.1:0",
) -> None:
    """Show the main job on this machine: two real Envoys, two backends, real requests; no cluster needed."""
    from xds_server.demo.fleet import DemoOptions
    from xds_server.demo.live import watch
    from xds_server.demo.once import tell
    from xds_server.demo.stage import example_manifests

    ports = tuple(gateway_port or ())
    if len(set(ports)) not in (0, len(Variant)):
        raise UsageError(f"--gateway-port: give none, or {len(Variant)} different ones, one for each Envoy")
    options = DemoOptions(
        manifests=manifests or example_manifests(),
        gateway_ports=ports,
        kube_address=parse_address(kube_address, option="--kube-address"),
        xds_address=parse_address(xds_address, option="--xds-address"),
        admin_address=parse_address(admin_address, option="--admin-address"),
    )
    try:
        asyncio.run(_ending_on_sigterm((tell if once else watch)(options, _console())))
    except (KeyboardInterrupt, asyncio.CancelledError):
        # Ctrl-C is how one leaves the live table, and no way to tell the story.
        raise typer.Exit(_INTERRUPTED if once else 0) from None


async def _ending_on_sigterm(work: Coroutine[object, object, None]) -> None:
    """Let SIGTERM cancel `work`, as Ctrl-C does. (A handler that raises might do so anywhere.)"""
    running = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    await running


@cli.command()
def kube(
    *,
    data: Annotated[
        Path | None,
        typer.Option(
            envvar="XDS_SHADOW_KUBE_DATA",
            help="Directory to keep the objects in, as YAML; made if it is not there.",
            show_default="in memory",
        ),
    ] = None,
    listen: Annotated[
        str,
        typer.Option(
            envvar="XDS_SHADOW_KUBE_ADDRESS",
            metavar="HOST:PORT",
            help="Where kubectl connects; port 0: any free.",
        ),
    ] = DEFAULT_KUBE_ADDRESS,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(
            envvar="XDS_SHADOW_KUBE_KUBECONFIG",
            help="Write a kubeconfig for it here.",
            show_default="kubeconfig in --data",
        ),
    ] = None,
    ready_file: Annotated[
        Path | None,
        typer.Option(
            envvar="XDS_SHADOW_READY_FILE",
            help="Write the address here as JSON once the server is ready.",
            show_default=False,
        ),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure",
            envvar="XDS_SHADOW_KUBE_INSECURE",
            help="Listen on more than loopback, although whoever reaches this server may do anything.",
        ),
    ] = False,
    log_format: Annotated[
        LogFormat,
        typer.Option(envvar="XDS_SHADOW_LOG_FORMAT", help="auto: text on a terminal, else JSON."),
    ] = LogFormat.AUTO,
) -> None:
    """Run an embedded Kubernetes API for kubectl: for laptops, demos and tests. Nothing runs Pods here."""
    from xds_server.embedded.run import run

    configure_logging(log_format)
    work = run(
        data=data,
        listen=parse_address(listen, option="--listen"),
        kubeconfig=kubeconfig or (data / "kubeconfig" if data else None),
        ready_file=ready_file,
        insecure=insecure,
    )
    asyncio.run(work)


@cli.command()
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
    tls_key: Annotated[
        Path | None,
        typer.Option(envvar="XDS_SHADOW_TLS_KEY", metavar="FILE", help="Its key.", show_default=False),
    ] = None,
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
    node_cluster: Annotated[
        str, typer.Option(envvar="XDS_SHADOW_NODE_CLUSTER", help="node.cluster: the fleet it belongs to.")
    ] = "xds-shadow",
    max_heap_mib: Annotated[
        int, typer.Option(envvar="XDS_SHADOW_MAX_HEAP_MIB", min=64, help="Heap at which Envoy sheds load.")
    ] = 1024,
) -> None:
    """Print the bootstrap of an Envoy that joins the fleet, for `envoy --config-path`."""
    from xds_server.bootstrap import BootstrapOptions, BootstrapTls, bootstrap_yaml, sds_files

    addresses = [
        parse_address(each, option="--xds-address") for each in xds_address or [_DEFAULT_CONTROL_PLANE]
    ]
    options = BootstrapOptions(
        node_id=node_id,
        node_cluster=node_cluster,
        xds_address=addresses[0],
        further_xds_addresses=tuple(addresses[1:]),
        namespaces=tuple(namespace or ()),
        mode=mode,
        admin_port=admin_port,
        gateway_port=gateway_port,
        max_heap_mib=max_heap_mib,
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
            sds=directory,
        )
        options = replace(options, tls=tls)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            for name, text in sds_files(tls).items():
                (directory / name).write_text(text)
        except OSError as error:
            raise UsageError(f"--sds-dir {directory}: {error.strerror or error}") from error
    typer.echo(bootstrap_yaml(options), nl=False)


@cli.command("render")
def render_command(
    *,
    manifests: Manifests = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespaces = None,
    expose_all: ExposeAll = False,
    policy: Policy = None,
    gateway_port: GatewayPort = DEFAULT_GATEWAY_PORT,
    output: Annotated[
        Form,
        typer.Option(
            "--output", "-o", help="static: one file for `envoy --config-path`, nothing left to discovery."
        ),
    ] = Form.YAML,
) -> None:
    """Print what would be pushed, once, without serving it. Problems go to standard error."""
    from xds_server import app
    from xds_server.render import render

    configure_logging(LogFormat.AUTO, level=logging.WARNING)
    source = _source(manifests, kubeconfig, context, namespace)
    rules = read_policy(policy)
    published = asyncio.run(
        app.read_once(source, gateway_port=gateway_port, expose_all=expose_all, policy=rules)
    )
    for problem in published.problems():
        where = " ".join(part for part in (problem.origin, problem.subject) if part)
        typer.echo(f"{where}: {problem.reason}: {problem.message}", err=True)
    typer.echo(render(published.snapshot, output), nl=False)


@cli.command()
def status(
    *,
    server: Server = DEFAULT_ADMIN_ADDRESS,
    output: OutputOption = Output.TABLE,
    follow: Annotated[bool, typer.Option("--watch", "-w", help="Refresh until Ctrl-C.")] = False,
) -> None:
    """Show every shadow with its state and reason, every Envoy with its versions, every problem."""
    address = parse_address(server, option="--server")
    if not follow:
        found = get_status(address)
        _print(found, status_view(found), output)
        return
    if output is not Output.TABLE:
        raise UsageError("--watch redraws a table; leave out --output, or run `status -o json` repeatedly")
    with contextlib.suppress(KeyboardInterrupt), Live(status_view(get_status(address))) as live:
        while True:
            time.sleep(_WATCH_EVERY_S)
            live.update(status_view(get_status(address)))


@cli.command()
def explain(
    shadow: Annotated[str, typer.Argument(metavar="NAMESPACE/DEPLOYMENT", help="A marked Deployment.")],
    *,
    server: Server = DEFAULT_ADMIN_ADDRESS,
    output: OutputOption = Output.TABLE,
    config: Annotated[
        bool, typer.Option("--config", help="Print the Envoy resources behind the shadow, as YAML.")
    ] = False,
) -> None:
    """Show one shadow from its label to the Envoys that carry it out."""
    namespace, slash, deployment = shadow.partition("/")
    if not (namespace and slash and deployment) or "/" in deployment:
        raise UsageError(f"{shadow!r} is not NAMESPACE/DEPLOYMENT, such as staging/myapp-canary")
    explanation = get_explanation(parse_address(server, option="--server"), namespace, deployment)
    if config:
        from xds_server.render import documents

        resources = ((TypeUrl(found.type_url), found.body) for found in explanation.resources)
        typer.echo(documents(resources), nl=False)
    else:
        _print(explanation, explanation_view(explanation), output)


@cli.command("convert")
def convert_command(
    *,
    filename: Annotated[
        list[Path],
        typer.Option(
            "--filename",
            "-f",
            metavar="FILE",
            help="YAML of VirtualServices, Canaries, Mappings, HTTPProxies, Ingresses or HTTPRoutes, with the"
            " Services and Deployments behind them if you have them; - for standard input; repeatable.",
        ),
    ],
) -> None:
    """Print what to type instead of mirrors of Istio, Flagger, Emissary, Contour, ingress-nginx or Gateway
    API."""
    from xds_server.convert.convert import convert
    from xds_server.sources.manifests import documents

    found: list[object] = []
    for path in filename:
        try:
            data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        except OSError as error:
            raise UsageError(f"--filename {path}: {error.strerror or error}") from error
        found += documents(str(path), data)
    converted = convert([each for each in found if isinstance(each, dict)])
    if not converted.mirrors:
        raise XdsShadowError(
            f"no mirror in {len(found)} documents; looked for VirtualService, Canary, Mapping, HTTPProxy,"
            " Ingress, HTTPRoute and GRPCRoute"
        )
    typer.echo("\n".join(converted.lines))
    without = f", {converted.without} of them without an equivalent" if converted.without else ""
    typer.echo(f"mirrors found: {converted.mirrors}{without}", err=True)


def _source(
    manifests: list[Path] | None, kubeconfig: Path | None, context: str | None, namespaces: list[str] | None
) -> SourceConfig:
    return SourceConfig(
        manifests=tuple(manifests or ()),
        kubeconfig=kubeconfig,
        context=context,
        namespaces=tuple(namespaces or ()),
    )


def _replica_name() -> str:
    return f"{socket.gethostname()}-{secrets.token_hex(4)}"


def _console() -> Console:
    """Standard output. Where it is piped, for other programs and for files: no folding at 80 columns."""
    return Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH, highlight=False)


def _print(message: Message, view: RenderableType, output: Output) -> None:
    if output is Output.TABLE:
        _console().print(view)
        return
    data = MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    typer.echo(json.dumps(data, indent=2) if output is Output.JSON else yaml.safe_dump(data, sort_keys=False))


def main() -> None:
    """Entry point of the ``xds-shadow`` script."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # our own messages say what matters
    # What is started here runs another program at once; gRPC's care for forked children can cost their lives.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
    try:
        cli()
    except UsageError as error:
        typer.echo(f"xds-shadow: {error}", err=True)
        sys.exit(2)
    except XdsShadowError as error:
        typer.echo(f"xds-shadow: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
