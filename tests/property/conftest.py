"""How Hypothesis tries: the same examples on every run, and no clock decides whether a test passes."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "deterministic",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=200,
    suppress_health_check=[HealthCheck.too_slow],  # it measures the machine
)
settings.load_profile("deterministic")
