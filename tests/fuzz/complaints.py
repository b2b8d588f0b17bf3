"""Makes errors that are only logged fail a target as well: many places log what they must survive."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

LOGGERS = ("hubbub", "uvicorn.error", "asyncio")


class _Complaints(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def no_complaints() -> Iterator[None]:
    """Raises AssertionError at the end when an error was logged, from the exception that was logged with it."""
    complaints = _Complaints()
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(logger.propagate, logger.level) for logger in loggers]
    for logger in loggers:
        logger.addHandler(complaints)
        logger.propagate = False
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, (propagate, level) in zip(loggers, before, strict=True):
            logger.removeHandler(complaints)
            logger.propagate = propagate
            logger.setLevel(level)
    for record in complaints.records:
        raise AssertionError(record.getMessage()) from (record.exc_info[1] if record.exc_info else None)
