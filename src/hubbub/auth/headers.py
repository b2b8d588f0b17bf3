"""The values of a request's header, by its name."""

from __future__ import annotations

from collections.abc import Iterable

Headers = Iterable[tuple[bytes, bytes]]
"""Names and values as ASGI gives them."""


def values_of(headers: Headers, name: bytes) -> list[bytes]:
    """All values of one header, in the order of its lines.

    Args:
        name: in lower case.
    """
    return [value for other, value in headers if other.lower() == name]
