"""Verdicts on real Envoys: what they log, and what comes of it. ``python -m tests.envoy.verdicts`` plays more
runs than the tests do."""
