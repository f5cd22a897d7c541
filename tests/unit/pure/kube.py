"""Kubernetes objects in a line each, and from YAML. Not by way of `sources`, which has rules of its own."""

import base64
from collections.abc import Iterable, Mapping

import msgspec
import yaml

from xds_server.core.keys import ALLOW, EXPOSE, SHADOW_OF
from xds_server.core.objects import (
    KINDS,
    Container,
    ContainerPort,
    Deployment,
    EndpointConditions,
    EndpointSlice,
    Kind,
    LabelSelector,
    Meta,
    Namespace,
    Object,
    ObjectReference,
    Pod,
    PodCondition,
    PodIP,
    PodSpec,
    PodStatus,
    Secret,
    Service,
    ServicePort,
    ServiceSpec,
    SliceEndpoint,
    SlicePort,
    Workload,
    WorkloadSpec,
)
from xds_server.core.world import Upsert, World
from xds_server.server.pipeline import Pipeline

PREFIX = "xds-shadow.io/"


def from_yaml(text: str) -> list[Object]:
    """Every document of a YAML text as a model object."""
    return [
        msgspec.convert(document, KINDS[Kind(document["kind"])])
        for document in yaml.safe_load_all(text)
        if document is not None
    ]


def world_of(*objects: Object) -> World:
    """The world that holds these objects."""
    world, _ = World().apply(map(Upsert, objects))
    return world


def pipeline_of(*, expose_all: bool = False) -> Pipeline:
    """A pipeline for which no time passes, so that each step builds all there is."""
    return Pipeline(gateway_port=8080, expose_all=expose_all, clock=lambda: 0.0)


def namespace(
    name: str, *, expose: str | None = "true", annotations: Mapping[str, str] | None = None
) -> Namespace:
    labels = None if expose is None else {EXPOSE: expose}
    return Namespace(metadata=Meta(name=name, labels=labels, annotations=_prefixed(annotations)))


def service(
    name: str,
    *,
    namespace: str = "staging",
    expose: str | None = None,
    ports: tuple[ServicePort, ...] | None = (ServicePort(port=80),),
    annotations: Mapping[str, str] | None = None,
    kind: str | None = None,
    ip_families: tuple[str, ...] | None = None,
    created: str | None = None,
    selector: dict[str, str] | None = None,
) -> Service:
    metadata = Meta(
        name=name,
        namespace=namespace,
        labels=None if expose is None else {EXPOSE: expose},
        annotations=_prefixed(annotations),
        creation_timestamp=created,
    )
    return Service(
        metadata=metadata,
        spec=ServiceSpec(type=kind, selector=selector, ports=ports, ip_families=ip_families),
    )


def canary(
    name: str,
    of: str | None,
    *,
    namespace: str = "staging",
    app: str | None = None,
    created: str | None = None,
    **annotations: str,
) -> Deployment:
    """A Deployment marked as shadow of `of`, which selects Pods with `app` (its own name unless told);
    annotations are given without prefix, ``_`` for ``-``."""
    metadata = Meta(
        name=name,
        namespace=namespace,
        labels=None if of is None else {SHADOW_OF: of},
        annotations=_prefixed({key.replace("_", "-"): value for key, value in annotations.items()}),
        creation_timestamp=created,
    )
    selector = LabelSelector(match_labels={"app": name if app is None else app})
    return Deployment(metadata=metadata, spec=WorkloadSpec(selector=selector))


def marked(
    kind: Kind,
    name: str,
    of: str | None,
    *,
    namespace: str = "staging",
    app: str | None = None,
    **annotations: str,
) -> Workload:
    """As `canary`, of another kind."""
    made = canary(name, of, namespace=namespace, app=app, **annotations)
    found = msgspec.convert(msgspec.to_builtins(made), KINDS[kind])
    assert isinstance(found, Workload)
    return found


def pod(
    name: str,
    app: str,
    *ips: str,
    namespace: str = "staging",
    ready: bool = True,
    leaving: bool = False,
    ports: Mapping[str, int] | None = None,
    sidecar_ports: Mapping[str, int] | None = None,
) -> Pod:
    def containers(named: Mapping[str, int] | None) -> tuple[Container, ...]:
        listed = (ContainerPort(container_port=number, name=key) for key, number in (named or {}).items())
        return (Container(ports=tuple(listed)), Container())

    return Pod(
        metadata=Meta(
            name=name,
            namespace=namespace,
            labels={"app": app},
            deletion_timestamp="2026-01-01T00:00:00Z" if leaving else None,
        ),
        spec=PodSpec(containers=containers(ports), init_containers=containers(sidecar_ports)),
        status=PodStatus(
            pod_ip=ips[0] if ips else None,
            pod_ips=tuple(PodIP(ip=ip) for ip in ips) or None,
            conditions=(
                PodCondition(type="Initialized", status="True"),
                PodCondition(type="Ready", status="True" if ready else "False"),
            ),
        ),
    )


def secret(
    name: str,
    *,
    key: str = "authorization",
    value: str,
    allow: str | None = "true",
    namespace: str = "staging",
) -> Secret:
    labels = None if allow is None else {ALLOW: allow}
    data = {key: base64.b64encode(value.encode()).decode()}
    return Secret(metadata=Meta(name=name, namespace=namespace, labels=labels), data=data)


def slice_of(
    service: str | None,
    *endpoints: SliceEndpoint,
    name: str | None = None,
    namespace: str = "staging",
    ports: Iterable[SlicePort] = (SlicePort(port=80),),
    family: str = "IPv4",
) -> EndpointSlice:
    labels = None if service is None else {"kubernetes.io/service-name": service}
    return EndpointSlice(
        metadata=Meta(name=name or f"{service}-1", namespace=namespace, labels=labels),
        address_type=family,
        endpoints=endpoints,
        ports=tuple(ports),
    )


def at(
    address: str,
    *,
    pod: str | None = None,
    ready: bool | None = None,
    serving: bool | None = None,
    terminating: bool | None = None,
) -> SliceEndpoint:
    """One endpoint of a slice."""
    return SliceEndpoint(
        addresses=(address,),
        conditions=EndpointConditions(ready=ready, serving=serving, terminating=terminating),
        target_ref=None if pod is None else ObjectReference(kind="Pod", name=pod),
    )


def _prefixed(annotations: Mapping[str, str] | None) -> dict[str, str] | None:
    return {PREFIX + key: value for key, value in annotations.items()} if annotations else None
