"""The main job on one machine, without a cluster: two real Envoys, a stable and a canary backend, the control
plane fed from a directory of manifests, and real requests. Also what the tests drive real Envoys with.
"""
