"""Named bytes become streams: resources, snapshots, the state machines of ADS, what each Envoy was sent and
took. Knows neither Kubernetes nor shadows."""
