"""Creates the parts of the control plane that the configuration selects: the source of objects, the checks on
incoming objects and the Kubernetes Event writer.

Each kind of source is imported only if it is configured. Importing the Kubernetes client is slow.
"""

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from xds_server.base.address import Address, ip_text, outward_addresses
from xds_server.core.conditions import Condition
from xds_server.core.door import Door, DoorRules
from xds_server.core.layers import NO_FILE, PolicyFile
from xds_server.core.source import Source
from xds_server.server.config import EventsConfig, SourceConfig
from xds_server.server.pipeline import Pipeline, Published
from xds_server.translate.gateway import TRANSPARENT, GatewayConfig

if TYPE_CHECKING:
    from xds_server.kube.event_recorder import EventRecorder


def open_source(source: SourceConfig, policy: PolicyFile = NO_FILE) -> Source:
    """The configured source of objects. It does not run yet."""
    if source.manifests:
        from xds_server.manifests.source import FileSource

        return FileSource(source.manifests)
    from xds_server.kube import source as kube

    return kube.KubeSource(
        lambda: kube.connect(source.kubeconfig, source.context),
        source.namespaces,
        installation=policy.values,
    )


def open_door(listening: Iterable[Address], *, loopback: bool, own: frozenset[str], namespace: str) -> Door:
    """The check of endpoint addresses for a control plane that listens on `listening`.

    `loopback` accepts loopback addresses. `own` are addresses of the control plane that are rejected at any
    port, and `namespace` is that of its replicas. A wildcard or a host name among `listening` stands for
    every address of this machine.
    """
    listeners: set[tuple[str, int]] = set()
    everywhere: set[int] = set()
    for address in listening:
        text = ip_text(address.host)
        if text is None or text in ("0.0.0.0", "::"):  # noqa: S104 - compared, not listened on
            everywhere.add(address.port)
            listeners.update((own_text, address.port) for own_text in outward_addresses())
        else:
            listeners.add((text, address.port))
    return Door(
        DoorRules(
            loopback=loopback,
            own=own,
            namespace=namespace,
            listeners=frozenset(listeners),
            everywhere=frozenset(everywhere),
        )
    )


def open_events(
    source: SourceConfig, events: EventsConfig | None, report: Callable[[tuple[Condition, ...]], None]
) -> "EventRecorder | None":
    """The writer of Kubernetes Events, or None if `source` is not a cluster or Events are disabled. Problems
    with writing are passed to `report`."""
    if source.manifests or events is None:
        return None
    from xds_server.kube.event_recorder import EventRecorder
    from xds_server.kube.session import connect

    return EventRecorder(
        lambda: connect(source.kubeconfig, source.context),
        identity=events.identity,
        namespace=events.lease_namespace,
        report=report,
    )


async def read_once(
    source: SourceConfig,
    *,
    gateway_port: int,
    gateway: GatewayConfig = TRANSPARENT,
    route_configs: tuple[str, ...] = (),
    expose_all: bool,
    policy: PolicyFile = NO_FILE,
) -> Published:
    """Read the source once and build the configuration that would be served.

    Raises:
        SourceError: the source cannot be read.
    """
    if source.manifests:
        from xds_server.manifests.source import read_once

        changes = read_once(source.manifests)
    else:
        from xds_server.kube import source as kube

        changes = await kube.read_once_kube(
            lambda: kube.connect(source.kubeconfig, source.context),
            source.namespaces,
            installation=policy.values,
        )
    pipeline = Pipeline(
        gateway_port=gateway_port,
        gateway=gateway,
        route_configs=route_configs,
        expose_all=expose_all,
        installation=policy,
        cluster_domains=source.cluster_domains,
        door=Door(DoorRules(loopback=source.loopback_endpoints)),
    )
    return pipeline.step(changes, now=time.time())
