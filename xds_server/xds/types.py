"""The resource types that are served."""

from typing import Final

from xds_server.base.ids import TypeUrl

CLUSTER: Final = TypeUrl("type.googleapis.com/envoy.config.cluster.v3.Cluster")
ENDPOINT: Final = TypeUrl("type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment")
LISTENER: Final = TypeUrl("type.googleapis.com/envoy.config.listener.v3.Listener")
ROUTE: Final = TypeUrl("type.googleapis.com/envoy.config.route.v3.RouteConfiguration")
VIRTUAL_HOST: Final = TypeUrl("type.googleapis.com/envoy.config.route.v3.VirtualHost")
SECRET: Final = TypeUrl("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret")

SHORT_NAMES: Final = {
    CLUSTER: "CDS",
    ENDPOINT: "EDS",
    SECRET: "SDS",
    LISTENER: "LDS",
    ROUTE: "RDS",
    VIRTUAL_HOST: "VHDS",
}
"""The usual abbreviations, for logs and tables."""
