"""The Kubernetes source against a whole API server: the embedded one, or a cluster."""
