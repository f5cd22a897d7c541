"""The Kubernetes source, and the writer of Kubernetes Events."""
