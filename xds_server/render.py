"""A snapshot as a person reads it: decoded resources, or one static configuration that Envoy runs."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, cast

import betterproto2
import envoy_data_plane.envoy.config.cluster.v3 as cluster
import envoy_data_plane.envoy.config.endpoint.v3 as endpoint
import envoy_data_plane.envoy.config.listener.v3 as listener
import envoy_data_plane.envoy.config.route.v3 as route

# Imported so that an Any of theirs can be decoded.
import envoy_data_plane.envoy.extensions.filters.http.buffer.v3
import envoy_data_plane.envoy.extensions.filters.http.credential_injector.v3
import envoy_data_plane.envoy.extensions.filters.http.header_mutation.v3
import envoy_data_plane.envoy.extensions.filters.http.lua.v3
import envoy_data_plane.envoy.extensions.filters.http.router.v3
import envoy_data_plane.envoy.extensions.filters.http.upstream_codec.v3
import envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3
import envoy_data_plane.envoy.extensions.http.injected_credentials.generic.v3
import envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 as tls
import envoy_data_plane.envoy.extensions.upstreams.http.v3  # noqa: F401
from betterproto2 import Casing

from xds_server.ads import forms
from xds_server.base.ids import TypeUrl
from xds_server.base.yamltext import dumped, dumped_all
from xds_server.config import Form
from xds_server.snapshot.snapshot import Snapshot
from xds_server.snapshot.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET

_MESSAGES: Mapping[TypeUrl, type[betterproto2.Message]] = {
    LISTENER: listener.Listener,
    ROUTE: route.RouteConfiguration,
    CLUSTER: cluster.Cluster,
    ENDPOINT: endpoint.ClusterLoadAssignment,
    SECRET: tls.Secret,
}
_HEADINGS = {
    LISTENER: "listeners",
    ROUTE: "routes",
    CLUSTER: "clusters",
    ENDPOINT: "endpoints",
    SECRET: "secrets",
}
# Casing.SNAKE makes consecutive_5_xx of a field; any callable will do.
_AS_DOCUMENTED = cast("Casing", lambda name: name.rstrip("_"))
_HIDDEN = {"secret": {"inline_string": "(hidden)"}}
Json = dict[str, Any]


def decoded(type_url: TypeUrl, body: bytes) -> Json:
    """A resource as plain data, with the field names of Envoy's documentation."""
    found: Json = _MESSAGES[type_url].parse(body).to_dict(casing=_AS_DOCUMENTED)
    # A Secret is told by its name alone: this goes to terminals, files and reviews.
    return {**found, "generic_secret": _HIDDEN} if type_url == SECRET else found


def render(snapshot: Snapshot, form: Form) -> str:
    """The whole snapshot as text, sorted, ending in a newline; virtual hosts inside their route
    configuration."""
    snapshot = forms.Form(forms.Hosts.INSIDE).of(snapshot)
    resources = {
        heading: [
            decoded(type_url, resource.body)
            for _, resource in sorted(snapshot.of(type_url).resources.items())
        ]
        for type_url, heading in _HEADINGS.items()
    }
    if form is Form.JSON:
        return json.dumps(resources, indent=2) + "\n"
    shown = _static(resources) if form is Form.STATIC else resources
    return dumped(shown)


def documents(resources: Iterable[tuple[TypeUrl, bytes]]) -> str:
    """Single resources as YAML documents, each with its type."""
    found = ({"type": url.rpartition(".")[2], **decoded(url, body)} for url, body in resources)
    return dumped_all(found)


def _static(resources: Mapping[str, list[Json]]) -> Json:
    """The same configuration with nothing left to discovery: assignments inside their clusters, routes
    inside the listener's connection manager. The admin interface gets a port that the system chooses."""
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
    """The same, where secrets are among the static ones."""
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
