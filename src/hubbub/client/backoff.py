"""When to come back after a connection has ended, and whether at all. Times and chance are given."""

from __future__ import annotations

import re
from typing import Final

from hubbub.codes import (
    GOING_AWAY,
    INVALID_DATA,
    MALFORMED,
    MESSAGE_TOO_BIG,
    NORMAL,
    POLICY_VIOLATION,
    REMOVED,
    REPLACED,
    SERVICE_RESTART,
    TRY_AGAIN_LATER,
    UNSUPPORTED_DATA,
)

FIRST_DELAY_SECONDS: Final = 1.0
LONGEST_DELAY_SECONDS: Final = 30.0
JITTER: Final = 0.3
LOST: Final = 1006
"""Stands for the end without a close frame (RFC 6455, section 7.1.5)."""

FINAL_CODES: Final = frozenset((NORMAL, GOING_AWAY, MALFORMED, REMOVED, REPLACED))
"""After these a client stops."""
OURS_TO_BLAME: Final = frozenset((UNSUPPORTED_DATA, INVALID_DATA, MESSAGE_TOO_BIG))
"""After these it does not say again what was under way."""
# The third wait of those who were not told to be patient: 8 s.
_PATIENT_ATTEMPT: Final = 3
_PATIENT_CODES: Final = frozenset((POLICY_VIOLATION, TRY_AGAIN_LATER))
_AFTER: Final = re.compile(r"after=(\d{1,7})")


def reconnect_delay(attempt: int, jitter: float) -> float:
    """Seconds to wait before a try: 1 s doubling to 30 s, and up to 30 % more so that clients spread.

    Args:
        attempt: 0 for the first.
        jitter: random, 0 to 1.
    """
    return min(FIRST_DELAY_SECONDS * 2.0 ** min(attempt, 30), LONGEST_DELAY_SECONDS) * (1 + JITTER * jitter)


def return_delay(code: int, reason: str, attempt: int, jitter: float, told: float | None = None) -> float | None:
    """Seconds to wait after the end of a connection: as long as the server says, where it restarts; None for ever.

    Args:
        code, reason: of the close frame; LOST where there was none.
        attempt, jitter: as in `reconnect_delay`.
        told: what is left of the time that an event `reconnect` gave.
    """
    if code in FINAL_CODES:
        return None
    delay = reconnect_delay(max(attempt, _PATIENT_ATTEMPT) if code in _PATIENT_CODES else attempt, jitter)
    found = _AFTER.fullmatch(reason) if code == SERVICE_RESTART else None
    after = int(found[1]) / 1000 if found else told if code == LOST else None
    if after is None:
        return delay
    return max(after * (1 + JITTER * jitter), delay if attempt else 0.0)
