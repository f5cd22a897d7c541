"""Serves named, serialized resources to Envoys: snapshots, the state machines of ADS, and the state of each
Envoy. Knows neither Kubernetes nor shadows."""
