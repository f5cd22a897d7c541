"""``kubectl shadow top``: as ``xds-shadow status --watch``."""

from xds_server.cli.options import ServerOfPlugin, ShownNamespace
from xds_server.cli.plugin.kubectl import Kubectl
from xds_server.cli.plugin.options import KubectlContext, KubectlKubeconfig, SystemNamespace
from xds_server.cli.plugin.port_forward import control_plane
from xds_server.cli.status import follow_status


def top(
    *,
    namespace: ShownNamespace = None,
    server: ServerOfPlugin = None,
    system: SystemNamespace = "xds-shadow-system",
    kubeconfig: KubectlKubeconfig = None,
    context: KubectlContext = None,
) -> None:
    """Show the same as `status`, refreshed until Ctrl-C.

    Opens a port-forward to the control plane unless --server is given.
    """
    with control_plane(server, Kubectl(system, kubeconfig, context)) as address:
        follow_status(address, namespace)
