"""brokers.redis_url: what a URL says, and that no message has the password of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from hubbub.brokers.redis_url import Target, names_redis, parse_url, read_password
from hubbub.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("redis://h", Target("redis", False, [("h", 6379)], "", "", 0, "", "")),
        ("redis://h:1/2", Target("redis", False, [("h", 1)], "", "", 2, "", "")),
        ("redis://ada:p%40ss@h/", Target("redis", False, [("h", 6379)], "", "", 0, "ada", "p@ss")),
        ("redis://:p:ss@[::1]:7", Target("redis", False, [("::1", 7)], "", "", 0, "", "p:ss")),
        ("rediss://h", Target("redis", True, [("h", 6379)], "", "", 0, "", "")),
        ("unix:///run/redis.sock", Target("unix", False, (), "/run/redis.sock", "", 0, "", "")),
        (
            "redis+sentinel://:p@a,b:2/rooms/3",
            Target("sentinel", False, [("a", 26379), ("b", 2)], "", "rooms", 3, "", "p"),
        ),
        ("rediss+sentinel://a/rooms", Target("sentinel", True, [("a", 26379)], "", "rooms", 0, "", "")),
        ("redis+cluster://a,b:2", Target("cluster", False, [("a", 6379), ("b", 2)], "", "", 0, "", "")),
        ("rediss+cluster://a/", Target("cluster", True, [("a", 6379)], "", "", 0, "", "")),
    ],
)
def test_a_url_says_where_redis_is(url: str, target: Target) -> None:
    assert parse_url(url) == target


@pytest.mark.parametrize(
    "url",
    [
        *("redis://", "redis:///0", "redis://h:0", "redis://h:65536", "redis://h:x", "redis://h/x", "redis://h/1/2"),
        *("redis://a,b", "redis://h?db=1", "redis://h#1", "redis://[h", "redis://h h", "unix://", "unix://h/s"),
        *("redis+sentinel://h", "redis+sentinel://h/", "redis+sentinel://,/s", "redis+cluster://h/1"),
        *("redis+cluster://a,,b", "redis+other://h", "http://h", "REDIS://h", ""),
    ],
)
def test_any_other_is_one_line_without_what_may_be_a_password(url: str) -> None:
    secret = url.replace("://", "://ada:geheim@", 1)
    with pytest.raises(ConfigError) as caught:
        parse_url(secret)
    assert "geheim" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_password_may_come_from_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("geheim\n")
    password = read_password("", str(tmp_path / "secret"))
    assert (parse_url("redis://h", password).password, parse_url("redis://:own@h", password).password) == (
        "geheim",
        "own",
    )
    assert (read_password("geheim", ""), read_password("", "")) == ("geheim", "")


@pytest.mark.parametrize(("value", "file"), [("geheim", "file"), ("", "/nowhere/file")])
def test_a_password_that_cannot_be_had_is_said(value: str, file: str) -> None:
    with pytest.raises(ConfigError, match="redis_password_file") as caught:
        read_password(value, file)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        *("redis://h:6379", "rediss://h:6379/2", "redis+sentinel://a:1,b:2/rooms/3", "rediss+cluster://[::1]:1,b:2"),
        "unix:///run/redis.sock",
    ],
)
def test_what_is_printed_is_the_url_without_the_password(url: str) -> None:
    target = parse_url(url, "geheim")
    assert f"{target} {target!r}" == f"{url} {url}"
    assert parse_url(str(target)) == target._replace(password="")


def test_other_brokers_are_told_apart() -> None:
    assert [names_redis(url) for url in ("redis://h", "unix:///s", "sqlite:///f", "memory://", "redis:h")] == [
        *(True, True, False, False, False)
    ]
