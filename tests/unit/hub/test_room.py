"""hub.room: what members get, in which order, in which turn."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from hubbub.config import Config, Rooms
from hubbub.errors import BrokerError
from hubbub.wire.codec import Batch, Item
from tests.unit.fakes import Bench, LateBroker, RecordingTransport, Said, heard, tape


class CountingCodec:
    def __init__(self) -> None:
        self.calls = 0

    def encode(self, items: Sequence[Item]) -> int:
        self.calls += 1
        return self.calls


class EncodingTransport(RecordingTransport):
    """Encodes what is delivered, as a real one does."""

    codec = CountingCodec()

    def deliver(self, batch: Batch) -> None:
        batch.encode(self.codec)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def sliced(size: int) -> Bench:
    return Bench(Config(rooms=Rooms(fanout_slice=size)))


# Publishing


def test_a_kept_event_has_the_room_and_a_seq(bench: Bench) -> None:
    (ada,) = bench.join("lobby", "ada")
    ada.room.publish(Said("hi"))
    bench.runtime.turn()
    assert tape(ada).events == [{"type": "said", "text": "hi", "room": "lobby", "seq": 1}]


def test_an_ephemeral_event_has_the_room_and_no_seq(bench: Bench) -> None:
    (ada,) = bench.join("lobby", "ada")
    ada.room.publish(Said("hi"), keep=False)
    bench.runtime.turn()
    assert tape(ada).events == [{"type": "said", "text": "hi", "room": "lobby"}]


def test_the_name_of_a_room_is_encoded_as_json(bench: Bench) -> None:
    (ada,) = bench.join('"quoted" \\ é', "ada")
    ada.room.publish(Said("hi"))
    bench.runtime.turn()
    assert tape(ada).events[0]["room"] == '"quoted" \\ é'


@pytest.mark.parametrize("message", ["text", b"\xff bytes"])
def test_an_own_protocol_passes_as_it_is_and_is_not_kept(bench: Bench, message: str | bytes) -> None:
    (ada,) = bench.join("lobby", "ada")
    assert ada.room.publish(message).keep is False
    bench.runtime.turn()
    assert tape(ada).events == [message]
    assert bench.head("lobby") == 0


def test_nothing_is_delivered_before_the_end_of_the_turn(bench: Bench) -> None:
    (ada,) = bench.join("lobby", "ada")
    ada.room.publish(Said("hi"))
    assert heard(ada) == []


def test_what_a_turn_publishes_is_one_batch(bench: Bench) -> None:
    ada, bob = bench.join("lobby", "ada", "bob")
    for text in "abc":
        ada.room.publish(Said(text))
    bench.runtime.turn()
    assert [[event["text"] for event in batch] for batch in tape(bob).batches] == [["a", "b", "c"]]


def test_the_next_turn_is_another_batch(bench: Bench) -> None:
    (ada,) = bench.join("lobby", "ada")
    for text in "ab":
        ada.room.publish(Said(text))
        bench.runtime.turn()
    assert [[event["seq"] for event in batch] for batch in tape(ada).batches] == [[1], [2]]


def test_kept_and_ephemeral_events_keep_their_order(bench: Bench) -> None:
    (ada,) = bench.join("lobby", "ada")
    for text in "abcd":
        ada.room.publish(Said(text), keep=text in "bd")
    bench.runtime.turn()
    assert [(event["text"], event.get("seq")) for event in tape(ada).events] == [
        ("a", None),
        ("b", 1),
        ("c", None),
        ("d", 2),
    ]


def test_a_batch_is_encoded_once_for_all_members(bench: Bench) -> None:
    members = bench.join("lobby", "ada", "bob", "eve")
    for member in members:
        member.transport = EncodingTransport()
    members[0].room.publish(Said("hi"))
    bench.runtime.turn()
    assert EncodingTransport.codec.calls == 1


def test_rooms_do_not_hear_each_other(bench: Bench) -> None:
    (ada,), (bob,) = bench.join("one", "ada"), bench.join("other", "bob")
    ada.room.publish(Said("hi"))
    bench.runtime.turn()
    assert (heard(ada), heard(bob)) == (["hi"], [])


def test_seqs_of_rooms_are_independent(bench: Bench) -> None:
    (ada,), (bob,) = bench.join("one", "ada"), bench.join("other", "bob")
    publications = [ada.room.publish(Said("a")), bob.room.publish(Said("b")), ada.room.publish(Said("c"))]
    bench.runtime.turn()
    assert [publication.seq for publication in publications] == [1, 1, 2]


def test_publishing_into_an_empty_room_keeps_the_event(bench: Bench) -> None:
    bench.hub.room("lobby").publish(Said("hi"))
    bench.runtime.turn()
    assert bench.texts("lobby") == ["hi"]


# Exclusion


def test_an_excluded_member_does_not_hear_it(bench: Bench) -> None:
    ada, bob = bench.join("lobby", "ada", "bob")
    ada.room.publish(Said("hi"), exclude=ada)
    bench.runtime.turn()
    assert (heard(ada), heard(bob)) == ([], ["hi"])


def test_exclusion_is_per_event(bench: Bench) -> None:
    ada, bob = bench.join("lobby", "ada", "bob")
    ada.room.publish(Said("a"), exclude=ada)
    ada.room.publish(Said("b"))
    ada.room.publish(Said("c"), exclude=bob)
    bench.runtime.turn()
    assert (heard(ada), heard(bob)) == (["b", "c"], ["a", "b"])


def test_excluding_somebody_outside_of_the_room_changes_nothing(bench: Bench) -> None:
    (ada,), (bob,) = bench.join("one", "ada"), bench.join("other", "bob")
    ada.room.publish(Said("hi"), exclude=bob)
    bench.runtime.turn()
    assert heard(ada) == ["hi"]


# Kept


def test_a_seq_is_known_once_the_broker_has_answered() -> None:
    bench = Bench(broker=LateBroker)
    publication = bench.hub.room("lobby").publish(Said("hi"))
    bench.runtime.turn()
    assert publication.seq is None
    bench.broker.answer()  # type: ignore[attr-defined]
    assert publication.seq == 1


def test_an_event_is_delivered_only_once_it_is_kept() -> None:
    bench = Bench(broker=LateBroker)
    (ada,) = bench.join("lobby", "ada")
    ada.room.publish(Said("hi"))
    bench.runtime.turn()
    assert heard(ada) == []
    bench.broker.answer()  # type: ignore[attr-defined]
    assert heard(ada) == ["hi"]


def test_who_waits_for_a_publication_is_called_when_it_is_kept(bench: Bench) -> None:
    called: list[int | None] = []
    publication = bench.hub.room("lobby").publish(Said("hi"))
    publication.when_settled(lambda kept: called.append(kept.seq))
    assert called == []
    bench.runtime.turn()
    assert called == [1]


def test_who_asks_later_is_called_at_once(bench: Bench) -> None:
    called: list[int | None] = []
    publication = bench.hub.room("lobby").publish(Said("hi"))
    bench.runtime.turn()
    publication.when_settled(lambda kept: called.append(kept.seq))
    assert called == [1]


def test_an_ephemeral_publication_is_never_waited_for(bench: Bench) -> None:
    called: list[int | None] = []
    bench.hub.room("lobby").publish(Said("hi"), keep=False).when_settled(lambda kept: called.append(kept.seq))
    assert called == [None]


# Coming


def test_the_others_are_told_who_comes(bench: Bench) -> None:
    (ada,) = bench.join("lobby", "ada")
    bench.hub.join(bench.connect(), "lobby", "bob")
    bench.runtime.settle()
    assert tape(ada).events == [
        {"type": "user_joined", "username": "bob", "memberCount": 2, "timestamp": 1000000, "room": "lobby"}
    ]


def test_a_newcomer_is_not_told_of_itself(bench: Bench) -> None:
    bench.join("lobby", "ada")
    bob = bench.connect()
    bench.hub.join(bob, "lobby", "bob")
    bench.runtime.settle()
    assert heard(bob) == []


def test_newcomers_of_one_turn_hear_of_those_behind_them(bench: Bench) -> None:
    newcomers = [bench.connect() for _ in range(3)]
    for newcomer, name in zip(newcomers, "abc", strict=True):
        bench.hub.join(newcomer, "lobby", name)
    bench.runtime.settle()
    assert [[event["username"] for event in tape(newcomer).events] for newcomer in newcomers] == [["b", "c"], ["c"], []]


def test_a_newcomer_gets_of_its_turn_what_is_kept_and_what_comes_after(bench: Bench) -> None:
    (ada,) = bench.join("lobby", "ada")
    ada.room.publish(Said("kept before"))
    ada.room.publish(Said("ephemeral before"), keep=False)
    bob = bench.connect()
    bench.hub.join(bob, "lobby", "bob")
    ada.room.publish(Said("ephemeral after"), keep=False)
    bench.runtime.turn()
    assert heard(bob) == ["kept before", "ephemeral after"]


def test_a_newcomers_position_is_before_what_it_gets(bench: Bench) -> None:
    (ada,) = bench.join("lobby", "ada")
    ada.room.publish(Said("hi"))
    bob = bench.connect()
    position = bench.hub.join(bob, "lobby", "bob").room.head
    bench.runtime.turn()
    assert (position, tape(bob).events[0]["seq"]) == (0, 1)


# Going


def test_the_others_are_told_who_goes(bench: Bench) -> None:
    ada, bob = bench.join("lobby", "ada", "bob")
    bench.hub.leave(bob, "lobby")
    bench.runtime.settle()
    assert tape(ada).events == [
        {"type": "user_left", "username": "bob", "memberCount": 1, "timestamp": 1000000, "room": "lobby"}
    ]


def test_who_goes_gets_what_was_published_before(bench: Bench) -> None:
    ada, bob = bench.join("lobby", "ada", "bob")
    ada.room.publish(Said("before"))
    bench.hub.leave(bob, "lobby")
    ada.room.publish(Said("after"))
    bench.runtime.turn()
    assert (heard(ada), heard(bob)) == (["before", "user_left", "after"], ["before"])


def test_who_is_lost_is_not_written_to(bench: Bench) -> None:
    ada, bob = bench.join("lobby", "ada", "bob")
    ada.room.publish(Said("before"))
    bench.hub.lost(bob)
    bench.runtime.turn()
    assert (heard(ada), heard(bob)) == (["before", "user_left"], [])


def test_who_comes_and_goes_in_one_turn_is_announced_twice(bench: Bench) -> None:
    (ada,) = bench.join("lobby", "ada")
    bob = bench.connect()
    bench.hub.join(bob, "lobby", "bob")
    bench.hub.lost(bob)
    bench.runtime.settle()
    assert (heard(ada), heard(bob)) == (["user_joined", "user_left"], [])


def test_those_who_come_and_go_one_after_the_other_are_told_of_together(bench: Bench) -> None:
    (ada,) = bench.join("lobby", "ada")
    for name in ("bob", "cid"):
        bench.hub.join(bench.connect(), "lobby", name)
        bench.runtime.turn()
        bench.runtime.turn()
    assert heard(ada) == []
    bench.runtime.settle()
    assert [[event["username"] for event in batch] for batch in tape(ada).batches] == [["bob", "cid"]]


def test_who_says_something_was_there_before(bench: Bench) -> None:
    (ada,) = bench.join("lobby", "ada")
    bench.hub.join(bench.connect(), "lobby", "bob")
    bench.runtime.turn()
    ada.room.publish(Said("hi"))
    bench.runtime.turn()
    assert heard(ada) == ["user_joined", "hi"]
    bench.runtime.settle()
    assert heard(ada) == ["user_joined", "hi"]


# Large rooms


def test_a_large_room_is_written_to_in_slices() -> None:
    bench = sliced(2)
    members = bench.join("lobby", *"abcde")
    members[0].room.publish(Said("hi"))
    written = []
    for _ in range(4):
        bench.runtime.turn()
        written.append(sum(len(heard(member)) for member in members))
    assert written == [2, 4, 5, 5]


def test_other_rooms_get_their_turn_between_slices() -> None:
    bench = sliced(2)
    members, (small,) = bench.join("large", *"abcde"), bench.join("small", "x")
    members[0].room.publish(Said("hi"))
    bench.runtime.turn()
    small.room.publish(Said("meanwhile"))
    bench.runtime.turn()
    assert heard(small) == ["meanwhile"]
    assert sorted(len(heard(member)) for member in members) == [0, 1, 1, 1, 1]


def test_slices_of_large_events_have_fewer_members() -> None:
    bench = sliced(4)
    members = bench.join("lobby", *"abcdef")
    members[0].room.publish(b"x" * (3 << 20))  # two of these are 6 MB, three are more than 8
    bench.runtime.turn()
    assert sum(len(heard(member)) for member in members) == 2


def test_every_slice_has_a_member_however_large_the_event() -> None:
    bench = sliced(4)
    members = bench.join("lobby", *"abcde")
    members[0].room.publish(b"x" * (9 << 20))
    bench.runtime.turn()
    assert sum(len(heard(member)) for member in members) == 1


def test_events_published_between_slices_come_behind() -> None:
    bench = sliced(2)
    members = bench.join("lobby", *"abcde")
    members[0].room.publish(Said("first"))
    bench.runtime.turn()
    members[0].room.publish(Said("second"), keep=False)
    bench.runtime.settle()
    assert [heard(member) for member in members] == [["first", "second"]] * 5


def test_a_room_that_shrinks_between_slices_keeps_the_order() -> None:
    bench = sliced(2)
    members = bench.join("lobby", *"abc")
    members[0].room.publish(Said("first"))
    bench.runtime.turn()
    bench.hub.lost(next(member for member in members if heard(member)))
    bench.runtime.settle()
    waiting = [member for member in members if member.open]
    assert [heard(member) for member in waiting] == [["first", "user_left"]] * 2


def test_who_goes_between_slices_gets_all_that_was_published_before() -> None:
    bench = sliced(1)
    members = bench.join("lobby", *"abc")
    members[0].room.publish(Said("first"))
    bench.runtime.turn()
    members[0].room.publish(Said("second"))
    leaver = next(member for member in members if not heard(member))
    bench.hub.leave(leaver, "lobby")
    assert heard(leaver) == ["first", "second"]
    bench.runtime.settle()
    assert heard(leaver) == ["first", "second"]


def test_who_is_lost_between_slices_is_not_written_to() -> None:
    bench = sliced(1)
    members = bench.join("lobby", *"abc")
    members[0].room.publish(Said("hi"))
    bench.runtime.turn()
    lost = next(member for member in members if not heard(member))
    bench.hub.lost(lost)
    bench.runtime.settle()
    assert [heard(member) for member in members if member is not lost] == [["hi", "user_left"]] * 2
    assert heard(lost) == []


def test_who_comes_between_slices_gets_only_what_comes_after() -> None:
    bench = sliced(1)
    members = bench.join("lobby", *"abc")
    members[0].room.publish(Said("before"))
    bench.runtime.turn()
    newcomer = bench.connect()
    bench.hub.join(newcomer, "lobby", "d")
    members[0].room.publish(Said("after"))
    bench.runtime.settle()
    assert heard(newcomer) == ["after"]


def test_exclusion_holds_in_slices() -> None:
    bench = sliced(1)
    members = bench.join("lobby", *"abc")
    members[0].room.publish(Said("hi"), exclude=members[1])
    bench.runtime.settle()
    assert [heard(member) for member in members] == [["hi"], [], ["hi"]]


# Who is here


def test_members_are_listed_in_the_order_of_joining(bench: Bench) -> None:
    *_, last = bench.join("lobby", "eve", "ada", "bob")
    assert last.room.shown_to(last.members[-1]) == (["eve", "ada", "bob"], False)


def test_two_members_may_have_the_same_name(bench: Bench) -> None:
    ada, other = bench.join("lobby", "ada", "ada")
    assert ada.room.usernames(0, 10) == ["ada", "ada"]
    bench.hub.leave(other, "lobby")
    bench.runtime.settle()
    assert (heard(ada), ada.room.usernames(0, 10)) == (["user_left"], ["ada"])


def test_members_are_listed_by_pages(bench: Bench) -> None:
    ada, *_ = bench.join("lobby", *"abcde")
    assert [ada.room.usernames(offset, 2) for offset in (0, 2, 4, 6)] == [["a", "b"], ["c", "d"], ["e"], []]


def test_a_list_that_is_cut_begins_with_the_joiner() -> None:
    bench = Bench(Config(rooms=Rooms(members_shown=3)))
    *_, last = bench.join("lobby", *"abcde")
    assert (last.room.shown_to(last.members[-1]), last.room.count) == ((["e", "a", "b"], True), 5)


def test_a_list_that_is_not_cut_does_not_say_so(bench: Bench) -> None:
    (ada,) = bench.join("lobby", "ada")
    assert ada.room.shown_to(ada.members[-1]) == (["ada"], False)


def test_a_large_room_hears_counts_in_place_of_names() -> None:
    bench = Bench(Config(rooms=Rooms(presence_detail=2)))
    members = bench.join("lobby", *"abc")
    bench.join("lobby", "d", "e")
    assert heard(members[0]) == []
    bench.tick()
    bench.runtime.settle()
    assert [(event["type"], event["memberCount"]) for event in tape(members[0]).events] == [("member_count", 5)]


def test_a_room_at_the_threshold_still_hears_names() -> None:
    bench = Bench(Config(rooms=Rooms(presence_detail=2)))
    ada, _ = bench.join("lobby", "ada", "bob")
    bench.join("lobby", "eve")
    assert heard(ada) == ["user_joined"]


def test_counts_are_announced_once_a_tick_and_only_after_a_change() -> None:
    bench = Bench(Config(rooms=Rooms(presence_detail=1)))
    ada, *others = bench.join("lobby", *"abcd")
    for other in others[:2]:
        bench.hub.lost(other)
    bench.tick(3)
    bench.runtime.settle()
    assert [event["memberCount"] for event in tape(ada).events] == [2]


def test_a_room_that_emptied_has_no_count_to_announce() -> None:
    bench = Bench(Config(rooms=Rooms(presence_detail=1)))
    for member in bench.join("lobby", *"abc"):
        bench.hub.lost(member)
    bench.runtime.settle()
    published = bench.hub.counters.events_published
    bench.tick()
    bench.runtime.settle()
    assert bench.hub.counters.events_published == published


def test_who_waits_for_a_room_to_settle_cannot_stop_it(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: None) -> None:
        raise RuntimeError("a bug of who waits")

    caplog.set_level(logging.CRITICAL, "hubbub")
    bench = Bench(broker=LateBroker)
    (ada,) = bench.join("lobby", "ada")
    ada.room.publish(Said("one"))
    ada.room.settled(fail)
    bench.broker.answer()  # type: ignore[attr-defined]
    ada.room.publish(Said("two"))
    bench.runtime.settle()
    bench.broker.answer()  # type: ignore[attr-defined]
    assert heard(ada) == ["one", "two"]


# Reading


def test_an_event_is_read_as_it_was_published(bench: Bench) -> None:
    (ada,) = bench.join("lobby", "ada")
    ada.room.publish(Said("hi"))
    bench.runtime.settle()
    payloads = [asyncio.run(ada.room.read(seq)) for seq in (0, 1, 2)]
    assert payloads == [None, b'{"type":"said","text":"hi"}', None]


def test_what_a_latest_only_room_holds_is_read_where_nobody_is_as_well() -> None:
    bench = Bench(patterns=[("board", {"latest_only": True})])
    room = bench.hub.room("board")
    assert asyncio.run(room.latest()) == []
    for key, text in (("a", "old"), ("b", "other"), ("a", "new")):
        room.publish(Said(text), key=key)
    bench.runtime.settle()
    assert asyncio.run(room.latest()) == [b'{"type":"said","text":"other"}', b'{"type":"said","text":"new"}']
    assert (room.epoch, room.holds) == ("", 0)


def test_what_cannot_be_read_is_said_and_holds_no_room_open() -> None:
    bench = Bench(broker=LateBroker)
    assert isinstance(bench.broker, LateBroker)
    room = bench.hub.room("board")
    room.holds += 1

    def fail(*arguments: Any) -> None:
        arguments[-1](BrokerError("disk full"))

    bench.broker.read = fail  # type: ignore[method-assign, assignment]
    room.publish(Said("hi"))
    bench.runtime.settle()
    bench.broker.answer()
    with pytest.raises(BrokerError, match="disk full"):
        asyncio.run(room.latest())
    assert room.holds == 1


def test_an_answer_for_whom_nobody_waits_any_more_is_let_go() -> None:
    bench = Bench(broker=LateBroker)
    assert isinstance(bench.broker, LateBroker)
    (ada,) = bench.join("lobby", "ada")
    ada.room.publish(Said("hi"))
    bench.runtime.settle()
    bench.broker.answer()
    bench.broker.reads_late = True

    async def give_up() -> None:
        reading = asyncio.ensure_future(ada.room.read(1))
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])

    asyncio.run(give_up())
    bench.broker.answer()
    assert ada.room.holds == 0
