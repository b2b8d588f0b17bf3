"""The values of a request's headers, by their names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class HeaderValues(dict[bytes, list[bytes]]):
    """All values of each header, in the order of its lines, by its name in lower case; for who asks for several."""

    def __init__(self, lines: Iterable[tuple[bytes, bytes]]) -> None:
        super().__init__()
        for name, value in lines:
            self.setdefault(name.lower(), []).append(value)


Headers = Iterable[tuple[bytes, bytes]] | HeaderValues
"""Names and values as ASGI gives them, or read already."""


def read_headers(headers: Headers) -> HeaderValues:
    """The values of all headers, where they have not been read."""
    return headers if isinstance(headers, HeaderValues) else HeaderValues(headers)


def values_of(headers: Headers, name: bytes) -> Sequence[bytes]:
    """All values of one header, in the order of its lines.

    Args:
        name: in lower case.
    """
    if isinstance(headers, HeaderValues):
        return headers.get(name, ())
    return [value for other, value in headers if other.lower() == name]
