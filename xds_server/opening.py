"""What a configuration asks for, opened: the source, and who tells in the cluster what became of labels.

Kubernetes' client, slow to import, is imported only where a cluster is read.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from xds_server.config import ServeConfig, SourceConfig
from xds_server.model.problems import Problem
from xds_server.pipeline import Pipeline, Published
from xds_server.shadows.policy import NO_FILE, PolicyFile
from xds_server.sources import Source, files

if TYPE_CHECKING:
    from xds_server.publish.kube import KubeFeedback


def open_source(config: SourceConfig, policy: PolicyFile = NO_FILE) -> Source:
    """The source that the configuration asks for, not yet running."""
    if config.manifests:
        return files.FileSource(config.manifests)
    from xds_server.sources import kube

    return kube.KubeSource(
        lambda: kube.connect(config.kubeconfig, config.context),
        config.namespaces,
        installation=policy.values,
    )


def open_feedback(
    config: ServeConfig, report: Callable[[tuple[Problem, ...]], None]
) -> "KubeFeedback | None":
    """Who tells in the cluster what became of labels; None where the source is none, or it is not wanted."""
    source = config.source
    if source.manifests or config.events is None:
        return None
    from xds_server.kube.session import connect
    from xds_server.publish.kube import KubeFeedback

    return KubeFeedback(
        lambda: connect(source.kubeconfig, source.context),
        identity=config.events.identity,
        namespace=config.events.lease_namespace,
        report=report,
    )


async def read_once(
    config: SourceConfig, *, gateway_port: int, expose_all: bool, policy: PolicyFile = NO_FILE
) -> Published:
    """Read the source once and build what would be served.

    Raises:
        SourceError: the source cannot be read.
    """
    if config.manifests:
        changes = files.read_once(config.manifests)
    else:
        from xds_server.sources import kube

        changes = await kube.read_once_kube(
            lambda: kube.connect(config.kubeconfig, config.context),
            config.namespaces,
            installation=policy.values,
        )
    pipeline = Pipeline(gateway_port=gateway_port, expose_all=expose_all, installation=policy)
    return pipeline.step(changes, now=time.time())
