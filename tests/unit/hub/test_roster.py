"""hub.roster: everybody in a room once, on however many connections and nodes, in whatever order they come."""

from __future__ import annotations

import random
from typing import cast

import pytest

from hubbub.hub.connection import Connection
from hubbub.hub.member import Member
from hubbub.hub.ports import Present
from hubbub.hub.room import Room
from hubbub.hub.roster import Roster


def a_member(id: str, since: int) -> Member:
    """A member as far as a roster looks at it."""
    member = Member(cast(Connection, None), cast(Room, None), id)
    member.id, member.since = id, since
    return member


@pytest.mark.parametrize("seed", range(20))
def test_everybody_is_counted_and_shown_once_in_the_order_of_coming(seed: int) -> None:
    dice, roster = random.Random(seed), Roster()
    here: list[Member] = []
    there: dict[tuple[str, str], Present] = {}
    for time in range(300):
        id, node = dice.choice("abcdefgh"), dice.choice("12")
        before = {member.id for member in here} | {each for _, each in there}
        match dice.randrange(4):
            case 0:
                here.append(a_member(id, time))
                assert roster.enter(here[-1]) == (id not in before)
            case 1 if here:
                gone = here.pop(dice.randrange(len(here)))
                left = {member.id for member in here} | {each for _, each in there}
                assert roster.leave(gone) == (gone.id not in left)
            case 2:
                there[node, id] = Present(id, id, time, False)
                assert roster.enter_elsewhere(node, there[node, id]) == (id not in before)
            case 3:
                was = (node, id) in there
                there.pop((node, id), None)
                left = {member.id for member in here} | {each for _, each in there}
                assert (roster.leave_elsewhere(node, id) is not None) == (was and id not in left)
        everybody = {present.id: present.since for present in reversed(there.values())}
        everybody |= {member.id: member.since for member in reversed(here)}
        assert roster.count == len(everybody)
        if there:
            assert roster.usernames(0, 100) == sorted(everybody, key=lambda each: (everybody[each], each))
            assert roster.usernames(1, 2) == roster.usernames(0, 100)[1:3]
    for member in here:
        roster.leave(member)
    roster.forget_others()
    assert roster.count == 0
