"""Prints a snapshot: its resources, or one static configuration for Envoy."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from xds_server.base.ids import TypeUrl
from xds_server.base.yaml_text import dumped
from xds_server.server.config import RenderFormat
from xds_server.translate.readable import Json, readable
from xds_server.xds.snapshot import Snapshot
from xds_server.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET
from xds_server.xds.variants import HostsMode, SnapshotAdapter

_HEADINGS = {
    LISTENER: "listeners",
    ROUTE: "routes",
    CLUSTER: "clusters",
    ENDPOINT: "endpoints",
    SECRET: "secrets",
}


def render(snapshot: Snapshot, form: RenderFormat) -> str:
    """The snapshot as text that ends in a newline. Resources are sorted; virtual hosts are part of their
    route configuration."""
    snapshot = SnapshotAdapter(HostsMode.INLINE).of(snapshot)
    resources = {
        heading: [
            readable(type_url, resource.body)
            for _, resource in sorted(snapshot.of(type_url).resources.items())
        ]
        for type_url, heading in _HEADINGS.items()
    }
    if form is RenderFormat.JSON:
        return json.dumps(resources, indent=2) + "\n"
    shown = _static(resources) if form is RenderFormat.STATIC else resources
    return dumped(shown)


def typed(resources: Iterable[tuple[TypeUrl, bytes]]) -> list[Json]:
    """Resources with their type in `@type`, as in the JSON form of an Any."""
    return [{"@type": type_url, **readable(type_url, body)} for type_url, body in resources]


def _static(resources: Mapping[str, list[Json]]) -> Json:
    """The same configuration without xDS: endpoints are part of their clusters, and routes of the HTTP
    connection manager. The admin interface listens on a free port."""
    assignments = {assignment["cluster_name"]: assignment for assignment in resources["endpoints"]}
    routes = {configuration["name"]: configuration for configuration in resources["routes"]}
    admin = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}}
    return {
        "admin": admin,
        "static_resources": {
            "listeners": [_with_routes(item, routes) for item in resources["listeners"]],
            "clusters": [_with_assignment(item, assignments) for item in resources["clusters"]],
            **({"secrets": resources["secrets"]} if resources["secrets"] else {}),
        },
    }


def _with_assignment(item: Json, assignments: Mapping[str, Json]) -> Json:
    rest = {key: value for key, value in item.items() if key not in ("type", "eds_cluster_config")}
    found: Json = _without_sds(rest)
    return {**found, "type": "STATIC", "load_assignment": assignments[item["name"]]}


def _without_sds(item: Any) -> Any:
    """The same without `sds_config`: the secrets are static too."""
    match item:
        case dict():
            return {key: _without_sds(value) for key, value in item.items() if key != "sds_config"}
        case list():
            return [_without_sds(value) for value in item]
        case _:
            return item


def _with_routes(item: Json, routes: Mapping[str, Json]) -> Json:
    def inlined(filter_: Json) -> Json:
        manager = dict(filter_["typed_config"])
        rds = manager.pop("rds")
        return {**filter_, "typed_config": {**manager, "route_config": routes[rds["route_config_name"]]}}

    chains = [{**chain, "filters": [inlined(f) for f in chain["filters"]]} for chain in item["filter_chains"]]
    return {**item, "filter_chains": chains}
