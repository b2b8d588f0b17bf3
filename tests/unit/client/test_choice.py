"""client.choice: which kinds of transport are tried, and in what order."""

from hubbub.client.choice import MOST_NETWORKS, REMEMBERED_SECONDS, Networks

HOME = ("chat.example:443", "192.168.1.2")
WORK = ("chat.example:443", "10.0.0.2")
KINDS = ("websocket", "sse", "poll")


def test_all_kinds_are_tried_from_the_best_on() -> None:
    assert Networks().order(HOME, KINDS, 0.0) == KINDS


def test_what_did_not_get_through_is_not_tried_again_for_some_minutes() -> None:
    networks = Networks()
    networks.found(WORK, "sse", KINDS, 0.0)
    assert networks.order(WORK, KINDS, REMEMBERED_SECONDS - 1) == ("sse", "poll")
    assert networks.order(WORK, KINDS, REMEMBERED_SECONDS) == KINDS


def test_on_another_network_it_is() -> None:
    networks = Networks()
    networks.found(WORK, "poll", KINDS, 0.0)
    assert networks.order(HOME, KINDS, 1.0) == KINDS


def test_what_gets_through_again_does_not_make_it_longer() -> None:
    networks = Networks()
    networks.found(WORK, "sse", KINDS, 0.0)
    networks.found(WORK, "sse", KINDS, REMEMBERED_SECONDS - 1)
    assert networks.order(WORK, KINDS, REMEMBERED_SECONDS) == KINDS
    assert networks.better_at(WORK, "sse") == REMEMBERED_SECONDS


def test_once_the_best_gets_through_nothing_is_remembered() -> None:
    networks = Networks()
    networks.found(WORK, "sse", KINDS, 0.0)
    networks.found(WORK, "websocket", KINDS, 1.0)
    assert networks.order(WORK, KINDS, 2.0) == KINDS
    assert networks.better_at(WORK, "sse") == 0.0


def test_a_kind_that_a_client_does_not_want_is_not_tried() -> None:
    networks = Networks()
    networks.found(WORK, "sse", KINDS, 0.0)
    assert networks.order(WORK, ("websocket", "poll"), 1.0) == ("websocket", "poll")


def test_not_more_networks_are_remembered_than_anybody_meets() -> None:
    networks = Networks()
    for number in range(MOST_NETWORKS + 1):
        networks.found((f"host-{number}", ""), "sse", KINDS, 0.0)
    assert networks.order(("host-0", ""), KINDS, 1.0) == KINDS
    assert networks.order((f"host-{MOST_NETWORKS}", ""), KINDS, 1.0) == ("sse", "poll")
