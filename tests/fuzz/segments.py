"""Cuts bytes as a network may: one byte of an input says how."""

from __future__ import annotations

import random
from collections.abc import Iterator

LONGEST = 64


def segments(data: bytes, seed: int) -> Iterator[bytes]:
    """The data in pieces: one for seed 0, single bytes for 1, else of 1 to 64 bytes, the same ones for a seed."""
    if seed == 0:
        yield data
        return
    lengths = random.Random(seed)
    start = 0
    while start < len(data):
        end = start + (1 if seed == 1 else lengths.randint(1, LONGEST))
        yield data[start:end]
        start = end
