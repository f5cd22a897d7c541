"""What a configuration asks for, opened: the source, the door that its objects pass, and who tells in the
cluster what became of labels.

Kubernetes' client, slow to import, is imported only where a cluster is read.
"""

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from xds_server.base.address import Address, ip_text, outward_addresses
from xds_server.core.door import Door, DoorRules
from xds_server.core.layers import NO_FILE, PolicyFile
from xds_server.core.problems import Problem
from xds_server.core.source import Source
from xds_server.manifests import source as files
from xds_server.server.config import ServeConfig, SourceConfig
from xds_server.server.pipeline import Pipeline, Published
from xds_server.translate.gateway import TRANSPARENT, GatewayConfig

if TYPE_CHECKING:
    from xds_server.kube.feedback import KubeFeedback


def open_source(config: SourceConfig, policy: PolicyFile = NO_FILE) -> Source:
    """The source that the configuration asks for, not yet running."""
    if config.manifests:
        return files.FileSource(config.manifests)
    from xds_server.kube import source as kube

    return kube.KubeSource(
        lambda: kube.connect(config.kubeconfig, config.context),
        config.namespaces,
        installation=policy.values,
    )


def open_door(config: ServeConfig, listening: Iterable[Address]) -> Door:
    """The door for a control plane that listens at these addresses. A wildcard, or a name, may be any address
    of this machine."""
    listeners: set[tuple[str, int]] = set()
    everywhere: set[int] = set()
    for address in listening:
        text = ip_text(address.host)
        if text is None or text in ("0.0.0.0", "::"):  # noqa: S104 - compared, not listened on
            everywhere.add(address.port)
            listeners.update((own, address.port) for own in outward_addresses())
        else:
            listeners.add((text, address.port))
    return Door(
        DoorRules(
            loopback=config.source.loopback_endpoints,
            own=config.own_addresses,
            namespace=config.namespace,
            listeners=frozenset(listeners),
            everywhere=frozenset(everywhere),
        )
    )


def open_feedback(
    config: ServeConfig, report: Callable[[tuple[Problem, ...]], None]
) -> "KubeFeedback | None":
    """Who tells in the cluster what became of labels; None where the source is none, or it is not wanted."""
    source = config.source
    if source.manifests or config.events is None:
        return None
    from xds_server.kube.feedback import KubeFeedback
    from xds_server.kube.session import connect

    return KubeFeedback(
        lambda: connect(source.kubeconfig, source.context),
        identity=config.events.identity,
        namespace=config.events.lease_namespace,
        report=report,
    )


async def read_once(
    config: SourceConfig,
    *,
    gateway_port: int,
    gateway: GatewayConfig = TRANSPARENT,
    route_configs: tuple[str, ...] = (),
    expose_all: bool,
    policy: PolicyFile = NO_FILE,
) -> Published:
    """Read the source once and build what would be served.

    Raises:
        SourceError: the source cannot be read.
    """
    if config.manifests:
        changes = files.read_once(config.manifests)
    else:
        from xds_server.kube import source as kube

        changes = await kube.read_once_kube(
            lambda: kube.connect(config.kubeconfig, config.context),
            config.namespaces,
            installation=policy.values,
        )
    door = Door(DoorRules(loopback=config.loopback_endpoints))
    pipeline = Pipeline(
        gateway_port=gateway_port,
        gateway=gateway,
        route_configs=route_configs,
        expose_all=expose_all,
        installation=policy,
        cluster_domains=config.cluster_domains,
        door=door,
    )
    return pipeline.step(changes, now=time.time())
