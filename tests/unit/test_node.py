"""node: the parts of it that need neither a loop nor a socket."""

from __future__ import annotations

import uuid

import pytest

from hubbub.config import Config, Policies, RoomPolicy, Server
from hubbub.errors import ConfigError
from hubbub.node import RANDOM_BLOCK_BYTES, AsyncioRuntime, RandomIds, open_broker


def test_an_id_is_a_random_uuid() -> None:
    ids = RandomIds()
    parsed = uuid.UUID(text := ids.take())
    assert (str(parsed), parsed.version, parsed.variant) == (text, 4, uuid.RFC_4122)


def test_ids_differ_over_several_blocks() -> None:
    ids, count = RandomIds(), RANDOM_BLOCK_BYTES // 16 * 3
    assert len({ids.take() for _ in range(count)}) == count


def test_every_bit_that_may_be_random_is() -> None:
    ids = RandomIds()
    seen = [uuid.UUID(ids.take()).int for _ in range(1000)]
    always = seen[0]
    never = ~seen[0]
    for number in seen:
        always, never = always & number, never & ~number
    fixed = (always | never) & (1 << 128) - 1
    assert fixed == 0xF000 << 64 | 0b11 << 62  # the version and the variant (RFC 9562, section 5.4)


@pytest.mark.parametrize("url", ["", "memory", "reddis://localhost", "://", "MEMORY://"])
def test_any_other_is_refused_by_name(url: str) -> None:
    with pytest.raises(ConfigError, match=f"^broker '{url}': known are sqlite:///file, memory:// and redis://host$"):
        open_broker(Config(server=Server(broker=url)), AsyncioRuntime(), Policies(RoomPolicy()))
