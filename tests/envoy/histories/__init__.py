"""Random histories: tenants who change all they can, on real Envoys, and what callers must see meanwhile.

`world` is what the tenants have; `changes` what they do to it; `should` says what a request for a host may be
answered by, without a line of the product's code; `callers` send requests all the time; `history`
plays one by its seed.
By hand, with many seeds: ``python -m tests.envoy.histories --help``.
"""
