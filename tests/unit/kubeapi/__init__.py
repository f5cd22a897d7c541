"""The embedded Kubernetes API, module by module and over HTTP."""
