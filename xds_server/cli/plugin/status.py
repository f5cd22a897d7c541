"""``kubectl shadow status``: as ``xds-shadow status``."""

from xds_server.cli.console import console
from xds_server.cli.options import ServerOfPlugin, ShownNamespace
from xds_server.cli.plugin.kubectl import Kubectl
from xds_server.cli.plugin.options import KubectlContext, KubectlKubeconfig, SystemNamespace
from xds_server.cli.plugin.port_forward import control_plane


def status(
    *,
    namespace: ShownNamespace = None,
    server: ServerOfPlugin = None,
    system: SystemNamespace = "xds-shadow-system",
    kubeconfig: KubectlKubeconfig = None,
    context: KubectlContext = None,
) -> None:
    """Show shadows, Envoys and problems.

    Opens a port-forward to the control plane unless --server is given.
    """
    from xds_server.server.display import status_view
    from xds_server.server.status_client import get_status

    with control_plane(server, Kubectl(system, kubeconfig, context)) as address:
        console().print(status_view(get_status(address), namespace))
