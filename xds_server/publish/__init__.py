"""What is told outside: Kubernetes Events and Prometheus metrics."""
