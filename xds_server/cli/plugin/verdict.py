"""``kubectl shadow verdict``: as ``xds-shadow verdict``."""

from typing import Annotated

import typer

from xds_server.cli.options import Output, OutputOption, ServerOfPlugin
from xds_server.cli.plugin.kubectl import Kubectl, shadow_named
from xds_server.cli.plugin.options import (
    KubectlContext,
    KubectlKubeconfig,
    KubectlNamespace,
    SystemNamespace,
)
from xds_server.cli.plugin.port_forward import control_plane
from xds_server.cli.verdict import (
    Alpha,
    For,
    MinPairs,
    Tolerance,
    Wait,
    errors_exit_with_two,
    report,
    terms_of,
    waiting_time,
)


def verdict(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[[KIND/]NAME]", help="The canary. Without it: all shadows."),
    ] = None,
    *,
    wait: Wait = False,
    wait_for: For = None,
    min_pairs: MinPairs = None,
    tolerance: Tolerance = None,
    alpha: Alpha = None,
    namespace: KubectlNamespace = None,
    output: OutputOption = Output.TABLE,
    server: ServerOfPlugin = None,
    system: SystemNamespace = "xds-shadow-system",
    kubeconfig: KubectlKubeconfig = None,
    context: KubectlContext = None,
) -> None:
    """Tell how a canary does, compared with the primary.

    Opens a port-forward to the control plane unless --server is given. The verdicts and the exit codes are
    those of `xds-shadow verdict`: 0 NoWorse, 1 Worse, 3 TooEarly or Blind, 2 an error.

    \b
    Examples:
      kubectl shadow verdict
      kubectl shadow verdict myapp-canary -n staging --wait --for 15m
    """
    with errors_exit_with_two("kubectl shadow"):
        terms = terms_of(min_pairs, tolerance, alpha)
        for_s = waiting_time(name is not None, wait, wait_for)
        shadow = None if name is None else shadow_named(name, namespace, kubeconfig, context)
        with control_plane(server, Kubectl(system, kubeconfig, context)) as address:
            report(address, shadow, terms=terms, for_s=for_s, output=output)
