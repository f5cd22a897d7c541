"""``kubectl shadow stop``: removes the label of a canary."""

from xds_server.cli.plugin.kubectl import Kubectl, resource
from xds_server.cli.plugin.options import (
    DryRun,
    KubectlContext,
    KubectlKubeconfig,
    KubectlNamespace,
    Workload,
)
from xds_server.core.keys import SHADOW_OF


def stop(
    name: Workload,
    *,
    namespace: KubectlNamespace = None,
    kubeconfig: KubectlKubeconfig = None,
    context: KubectlContext = None,
    dry_run: DryRun = False,
) -> None:
    """Stop mirroring to a workload. Its annotations stay."""
    kubectl = Kubectl(namespace, kubeconfig, context)
    kubectl.run([kubectl.command("label", *resource(name), f"{SHADOW_OF}-")], dry_run=dry_run)
