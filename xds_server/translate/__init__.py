"""The plan in Envoy's terms: one listener, one route configuration, and per routed port a cluster, its
endpoints, and the same for each canary. Pure; the only package besides ``ads`` that knows Envoy's messages.
"""
