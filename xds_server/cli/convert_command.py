"""``xds-shadow convert``: the mirrors of other projects as labels and annotations."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from xds_server.base.errors import UsageError, XdsShadowError
from xds_server.cli.convert.form import Output
from xds_server.cli.options import OUTPUT, ClusterDomains, cluster_domains_of

_PARTLY = 3
"""The exit code if some of the mirrors are not converted, or not as they were."""


def convert(
    *,
    filename: Annotated[
        list[Path],
        typer.Option(
            "--filename",
            "-f",
            metavar="FILE",
            help="YAML of the objects that configure mirrors, of all others for the same hosts, and of the"
            " Services and Deployments behind them. - reads standard input. Repeatable.",
            rich_help_panel="Input",
        ),
    ],
    output: Annotated[
        Output,
        typer.Option(
            "--output",
            "-o",
            help="kubectl: commands to run. yaml: patches for a kustomization.",
            rich_help_panel=OUTPUT,
        ),
    ] = Output.KUBECTL,
    cluster_domain: ClusterDomains = None,
) -> None:
    """Convert the mirrors of another project to xds-shadow's.

    Reads mirrors of Istio, Flagger, Emissary, Contour, ingress-nginx, Gateway API, Apache APISIX and Consul.
    Prints kubectl commands or patches with the same effect. Exit code 3: a part could not be converted, and a
    comment names it. Exit code 1: nothing could be converted.
    """
    from xds_server.cli.convert.convert import READERS
    from xds_server.cli.convert.convert import convert as converted_from
    from xds_server.manifests.documents import documents

    found: list[object] = []
    for path in filename:
        found += documents(str(path), _content(path))
    docs = [each for each in found if isinstance(each, dict)]
    converted = converted_from(docs, output, cluster_domains_of(cluster_domain))
    if not converted.mirrors:
        kinds = ", ".join(kind for reader in READERS for kind in reader.kinds)
        read = "1 document" if len(found) == 1 else f"{len(found)} documents"
        raise XdsShadowError(f"no mirror found in {read}; supported kinds: {kinds}")
    typer.echo("\n".join(converted.lines))
    typer.echo(f"mirrors: {converted.mirrors}, converted: {converted.running}", err=True)
    if not converted.whole:
        raise typer.Exit(_PARTLY if converted.running else 1)


def _content(path: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise UsageError(f"--filename {path}: {error.strerror or error}") from error
