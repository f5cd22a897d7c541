"""``kubectl shadow start``: marks a workload as a canary."""

from typing import Annotated

import typer

from xds_server.cli.plugin.kubectl import Kubectl, resource, service_name
from xds_server.cli.plugin.options import (
    DryRun,
    KubectlContext,
    KubectlKubeconfig,
    KubectlNamespace,
    Workload,
)
from xds_server.core.annotations import NAMES
from xds_server.core.keys import EXPOSE, SHADOW_OF

_MIRRORING = "Mirroring"


def start(
    name: Workload,
    *,
    of: Annotated[
        str,
        typer.Option(
            "--of",
            metavar="SERVICE",
            help="Service whose requests are mirrored.",
            rich_help_panel=_MIRRORING,
        ),
    ],
    percent: Annotated[
        str | None,
        typer.Option(
            "--percent",
            metavar="PERCENT",
            help="Percentage of the requests to mirror, from 0 to 100.",
            show_default="all requests",
            rich_help_panel=_MIRRORING,
        ),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            "--methods",
            metavar="METHOD,…",
            help="HTTP methods to mirror, such as GET,HEAD.",
            show_default="all methods",
            rich_help_panel=_MIRRORING,
        ),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help=f"Any annotation: {', '.join(NAMES)}. Repeatable.",
            show_default=False,
            rich_help_panel=_MIRRORING,
        ),
    ] = None,
    expose: Annotated[
        bool,
        typer.Option("--expose", help="Also expose the Service on the Envoys.", rich_help_panel=_MIRRORING),
    ] = False,
    namespace: KubectlNamespace = None,
    kubeconfig: KubectlKubeconfig = None,
    context: KubectlContext = None,
    dry_run: DryRun = False,
) -> None:
    """Mirror the requests of a Service to a workload."""
    service = service_name(of)
    kubectl = Kubectl(namespace, kubeconfig, context)
    named = {"percent": percent, "methods": methods}
    settings = [f"{key}={value}" for key, value in named.items() if value is not None] + (setting or [])
    commands = (
        [kubectl.command("label", "service", service, f"{EXPOSE}=true", "--overwrite")] if expose else []
    )
    # The label comes last: without the annotations, more than was asked for would be mirrored.
    commands += [kubectl.annotate(name, settings)] if settings else []
    commands.append(kubectl.command("label", *resource(name), f"{SHADOW_OF}={service}", "--overwrite"))
    kubectl.run(commands, dry_run=dry_run)
