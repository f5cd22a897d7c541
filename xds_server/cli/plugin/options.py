"""The options that more than one command of the plugin has. Like kubectl's own options, they have no
environment variables."""

from pathlib import Path
from typing import Annotated

import typer

from xds_server.cli.options import CONTROL_PLANE, OUTPUT
from xds_server.core.objects import WORKLOADS

KUBECTL = "Cluster"
"""A heading of `--help`."""

SystemNamespace = Annotated[
    str,
    typer.Option(
        "--system",
        metavar="NAMESPACE",
        help="Namespace of the control plane, for the port-forward.",
        rich_help_panel=CONTROL_PLANE,
    ),
]
Workload = Annotated[
    str,
    typer.Argument(
        metavar="[KIND/]NAME",
        help="The canary: the name of a Deployment, or of another kind such as statefulset/NAME"
        f" ({', '.join(kind.lower() for kind in WORKLOADS[2:])}).",
    ),
]
KubectlNamespace = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        "-n",
        metavar="NAME",
        help="Same as kubectl's option.",
        show_default="that of the context",
        rich_help_panel=KUBECTL,
    ),
]
KubectlKubeconfig = Annotated[
    Path | None,
    typer.Option(
        "--kubeconfig",
        metavar="FILE",
        help="Same as kubectl's option.",
        show_default=False,
        rich_help_panel=KUBECTL,
    ),
]
KubectlContext = Annotated[
    str | None,
    typer.Option(
        "--context",
        metavar="NAME",
        help="Same as kubectl's option.",
        show_default=False,
        rich_help_panel=KUBECTL,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Print the kubectl commands instead of running them.", rich_help_panel=OUTPUT
    ),
]
