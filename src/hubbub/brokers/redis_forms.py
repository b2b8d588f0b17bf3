"""How texts, drafts and entries look in the calls of Redis's scripts, and in what these answer."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Final

from hubbub.hub.ports import Draft, Entry

MOST: Final = (1 << 53) - 1
"""Numbers are floating point in Redis's scripts."""
MARK_BYTES: Final = 16


def bounded(number: int) -> int:
    """A number that scripts can count with, not less than 0."""
    return min(max(number, 0), MOST)


def encoded(text: str) -> bytes:
    """Any text of Python's, halves of surrogates too."""
    return text.encode("utf-8", "surrogatepass")


def decoded(text: bytes) -> str:
    """What was `encoded`."""
    return text.decode("utf-8", "surrogatepass")


def room_base(prefix: str, name: str) -> bytes:
    """Begins the keys of a room; its name stands in braces, which in a Cluster decide where it is. No two have one."""
    inert = name.replace("%", "%25").replace("{", "%7B").replace("}", "%7D") or "%"
    return encoded(f"{prefix}{{{inert}}}:")


def mark_of(draft: Draft) -> bytes:
    """What a repeat is known by: 16 bytes for sender and id, and 8 for the content; empty where it may be none."""
    once = draft.once
    if once is None:
        return b""
    digest = blake2b(encoded(f"{len(once.sender)}.{once.sender}{once.id}"), digest_size=MARK_BYTES).digest()
    return digest + (once.fingerprint & (1 << 64) - 1).to_bytes(8)


def entries_of(flat: Sequence[Any]) -> list[tuple[Entry, str]]:
    """Entries and keys as the scripts write them: four items each."""
    parts = zip(flat[::4], flat[1::4], flat[2::4], flat[3::4], strict=True)
    return [(Entry(seq, time, payload), decoded(key)) for seq, time, key, payload in parts]
