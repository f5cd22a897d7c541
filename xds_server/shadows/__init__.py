"""Who shadows whom: the world of Kubernetes objects in, a plan of routes and mirrors out.

Pure. Knows labels, annotations and Kubernetes' rules about endpoints; knows nothing of Envoy.
"""
