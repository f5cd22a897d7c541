"""Annotations on real Envoys: what they do at the canary."""
