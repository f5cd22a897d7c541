"""Requests in many forms: each is sent straight to a backend and through an Envoy, and what arrives is
compared."""
