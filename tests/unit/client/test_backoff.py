"""client.backoff: when to come back, and whether."""

import pytest

from hubbub.client.backoff import reconnect_delay, return_delay


def test_the_wait_doubles_from_one_second_to_thirty() -> None:
    waits = [reconnect_delay(attempt, 0.0) for attempt in range(7)]
    assert waits == [1, 2, 4, 8, 16, 30, 30]


def test_up_to_thirty_per_cent_are_added() -> None:
    assert reconnect_delay(0, 1.0) == pytest.approx(1.3)
    assert reconnect_delay(99, 0.5) == pytest.approx(34.5)


def test_however_often_it_failed_there_is_a_next_try() -> None:
    assert reconnect_delay(10**6, 0.0) == 30


@pytest.mark.parametrize(
    ("code", "reason", "attempt", "told", "seconds"),
    [
        (1012, "after=500", 0, None, 0.5),
        (1012, "after=500", 3, None, 8.0),
        (1012, "after=60000", 3, None, 60.0),
        (1012, "after=0", 0, 9.0, 0.0),
        (1012, "soon", 0, None, 1.0),
        (1011, "after=500", 0, None, 1.0),
        (1006, "", 0, None, 1.0),
        (1006, "", 0, 0.25, 0.25),
        (1011, "", 0, 0.25, 1.0),
        (4401, "", 0, None, 1.0),
        (4408, "", 2, None, 4.0),
        (1013, "", 0, None, 8.0),
        (1008, "max_rate", 4, None, 16.0),
    ],
)
def test_the_code_says_when_to_come_back(
    code: int, reason: str, attempt: int, told: float | None, seconds: float
) -> None:
    assert return_delay(code, reason, attempt, 0.0, told) == seconds
    assert return_delay(code, reason, attempt, 1.0, told) == pytest.approx(seconds * 1.3)


@pytest.mark.parametrize("code", [1000, 1001, 4400, 4403, 4409])
def test_after_some_codes_nobody_comes_back(code: int) -> None:
    assert return_delay(code, "", 0, 0.0, 0.5) is None
