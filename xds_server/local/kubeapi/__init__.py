"""A small Kubernetes API server: kubectl works with it, but there is no cluster behind it.

It serves laptops and the demo, and it is the peer in tests of our Kubernetes client. So it shares no code
with the rooms that it tests: it imports only `base` and libraries.
"""
