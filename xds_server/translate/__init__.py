"""Translates the plan to Envoy's resources: listeners, route configurations, and for each routed port a
virtual host, a cluster and its endpoints, and the same for each canary. Pure. Only this room and `xds` import
Envoy's messages."""
