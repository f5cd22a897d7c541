"""Named bytes with versions: what is served. Knows neither Kubernetes nor what the bytes mean."""
