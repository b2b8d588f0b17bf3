"""Targets of the fuzzer, and tests that hold them to what it has found."""
