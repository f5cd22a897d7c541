"""``kubectl shadow explain``: as ``xds-shadow explain``."""

from xds_server.cli.options import Output, OutputOption, ServerOfPlugin
from xds_server.cli.plugin.kubectl import Kubectl, shadow_named
from xds_server.cli.plugin.options import (
    KubectlContext,
    KubectlKubeconfig,
    KubectlNamespace,
    SystemNamespace,
    Workload,
)
from xds_server.cli.plugin.port_forward import control_plane
from xds_server.cli.status import print_message


def explain(
    name: Workload,
    *,
    namespace: KubectlNamespace = None,
    output: OutputOption = Output.TABLE,
    server: ServerOfPlugin = None,
    system: SystemNamespace = "xds-shadow-system",
    kubeconfig: KubectlKubeconfig = None,
    context: KubectlContext = None,
) -> None:
    """Explain one shadow, from its label to the Envoys.

    Opens a port-forward to the control plane unless --server is given.
    """
    from xds_server.server.display import explanation_view
    from xds_server.server.status_client import get_explanation

    shadow = shadow_named(name, namespace, kubeconfig, context)
    with control_plane(server, Kubectl(system, kubeconfig, context)) as address:
        explanation = get_explanation(address, *shadow)
    print_message(explanation, explanation_view(explanation), output)
