"""Kubernetes as this program sees it: the objects (only the fields used) and the world they make up.

Pure and immutable. How objects get here is `sources`; what they mean is `shadows`.
"""
