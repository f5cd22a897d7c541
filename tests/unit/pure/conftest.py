"""Hypothesis for the pure tests: the same examples in every run, and none counted as too slow."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "pure",
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile(
    "thorough", parent=settings.get_profile("pure"), derandomize=False, max_examples=2000
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "pure"))
