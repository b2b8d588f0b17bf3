"""How Hypothesis tries: the same examples on every run, and no clock decides whether a test passes; nightly, more."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "deterministic",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=200,
    suppress_health_check=[HealthCheck.too_slow],  # it measures the machine
)
settings.register_profile(
    "nightly",
    settings.get_profile("deterministic"),
    derandomize=False,
    max_examples=2000,
    print_blob=True,
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "deterministic"))
