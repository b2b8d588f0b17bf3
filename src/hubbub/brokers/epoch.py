"""What the life of a log's numbering is called: short, for every event of an SSE stream repeats it."""

from __future__ import annotations

import os
from base64 import urlsafe_b64encode
from typing import Final

EPOCH_BYTES: Final = 12
"""Among a billion logs no two share 96 random bits, but once in a hundred billion times."""


def name_epoch(number: bytes) -> str:
    """The name of `EPOCH_BYTES` that are as good as random: 16 characters, which a URL takes as they are."""
    return urlsafe_b64encode(number).decode()


def new_epoch() -> str:
    """One that was never given before."""
    return name_epoch(os.urandom(EPOCH_BYTES))
