"""A Kubernetes cluster as a source, and as the place where Events are written."""
