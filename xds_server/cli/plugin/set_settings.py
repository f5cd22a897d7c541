"""``kubectl shadow set``: changes the annotations of a canary."""

from typing import Annotated

import typer

from xds_server.cli.plugin.kubectl import Kubectl
from xds_server.cli.plugin.options import (
    DryRun,
    KubectlContext,
    KubectlKubeconfig,
    KubectlNamespace,
    Workload,
)
from xds_server.core.annotations import NAMES


def set_settings(
    name: Workload,
    settings: Annotated[
        list[str],
        typer.Argument(metavar="NAME=VALUE|NAME-", help=f"Settings to set or remove: {', '.join(NAMES)}."),
    ],
    *,
    namespace: KubectlNamespace = None,
    kubeconfig: KubectlKubeconfig = None,
    context: KubectlContext = None,
    dry_run: DryRun = False,
) -> None:
    """Change which requests are mirrored to a workload, and how."""
    kubectl = Kubectl(namespace, kubeconfig, context)
    kubectl.run([kubectl.annotate(name, settings)], dry_run=dry_run)
