"""The demo: a shadow on one machine without a cluster. Runs two real Envoys, a stable and a canary backend,
the control plane, and real traffic. Tests drive real Envoys with its parts."""
