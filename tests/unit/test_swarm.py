"""What is counted of many clients, and that each kind of failure is called one."""

from typing import Any

import pytest

from tests.support.swarm import NONE_EXPECTED, Swarm, failures, quantiles, reorderings

GOOD: dict[str, Any] = {
    "published": 2,
    "acknowledged": 2,
    "expected": 10,
    "delivered": 10,
    "violation_count": 0,
    "violations": [],
    **dict.fromkeys(NONE_EXPECTED, 0),
}


def test_a_good_run_has_no_failures() -> None:
    assert failures(GOOD) == []


@pytest.mark.parametrize(
    "change",
    [
        *({name: 1} for name in NONE_EXPECTED),
        {"delivered": 9},
        {"expected": 0, "delivered": 0},
        {"acknowledged": 1},
        {"violation_count": 1},
    ],
)
def test_each_failure_is_told(change: dict[str, int]) -> None:
    assert len(failures({**GOOD, **change})) == 1


@pytest.mark.parametrize(
    ("seqs", "late"), [([], 0), ([1, 2, 3], 0), ([1, 3, 2], 1), ([3, 1, 2], 2), ([1, 2, 1], 0), ([2, 2], 0)]
)
def test_what_comes_late_is_told_from_what_comes_twice(seqs: list[int], late: int) -> None:
    assert reorderings(seqs) == late


def test_quantiles_are_those_of_the_sorted_values() -> None:
    assert quantiles([]) == {"count": 0, "p50": 0.0, "p99": 0.0, "max": 0.0}
    assert quantiles([3.0, 1.0, 2.0]) == {"count": 3, "p50": 2.0, "p99": 2.0, "max": 3.0}


def test_what_each_client_was_sent_is_counted_against_what_the_room_has() -> None:
    swarm = Swarm([1], clients=2, room_size=2)
    for client, seqs in zip(swarm.clients, ([1, 2, 3], [1, 3, 3]), strict=True):
        client.start, client.seqs = 0, seqs
    swarm.history.ledger.heads["room 0"]["e"] = 3
    figures = swarm.figures()
    assert (figures["expected"], figures["delivered"], figures["duplicates"]) == (6, 5, 1)
