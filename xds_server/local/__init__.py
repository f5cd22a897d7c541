"""A cluster on a laptop: `kubeapi`, a small Kubernetes API server, and `demo`, which runs real Envoys on
it."""
