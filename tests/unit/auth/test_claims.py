"""auth.claims: who somebody is and what they may do; what is not understood lets nobody in."""

from __future__ import annotations

import unicodedata
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.auth.claims import ALL, clean_name, identity_of
from hubbub.config import Auth
from hubbub.errors import HandshakeError
from hubbub.hub.identity import Grants, Identity
from hubbub.hub.limits import clean_username

NOW = 1_700_000_000.0
TEXTS = st.text() | st.text(st.sampled_from("a \u0301\u202e\ud800\x00e"))
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


def found(settings: Auth = Auth(), **claims: Any) -> Identity:  # noqa: B008 - settings are frozen
    return identity_of({"sub": "ann", **claims}, settings, lambda: NOW)


def refused(settings: Auth = Auth(), **claims: Any) -> HandshakeError:  # noqa: B008
    with pytest.raises(HandshakeError) as caught:
        found(settings, **claims)
    assert caught.value.status == 401
    return caught.value


def test_the_subject_is_the_user_and_the_name() -> None:
    assert (found().user, found().name) == ("ann", "ann")


@pytest.mark.parametrize("sub", ["", None, 7, ["ann"], "a" * 256, "\ud800", True])
def test_a_subject_that_is_none_lets_nobody_in(sub: object) -> None:
    assert dict(refused(sub=sub).headers)[b"www-authenticate"] == b'Bearer error="invalid_token"'


def test_a_missing_subject_lets_nobody_in() -> None:
    with pytest.raises(HandshakeError):
        identity_of({"name": "Ann"}, Auth(), lambda: NOW)


def test_the_longest_subject_is_a_user() -> None:
    assert found(sub="a" * 255).user == "a" * 255


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"name": "Ann"}, "Ann"),
        ({"name": "Ann", "preferred_username": "a"}, "Ann"),
        ({"preferred_username": "a"}, "a"),
        ({"name": "\u202e\x00 ", "preferred_username": "a"}, "a"),
        ({"name": 7}, "ann"),
        ({"name": ""}, "ann"),
    ],
)
def test_the_name_is_the_first_that_can_be_shown(claims: dict[str, Any], name: str) -> None:
    assert found(**claims).name == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("  Ann  ", "Ann"),
        ("A\x00n\nn\x7f", "Ann"),
        ("\u202eAnn\u2066", "Ann"),
        ("A\ud800nn", "Ann"),
        ("e\u0301", "\u00e9"),
        ("e\x00\u0301", "\u00e9"),
        ("a" * 31, "a" * 30),
        ("a" * 29 + " b", "a" * 29),
        ("\x00 Ann", "Ann"),
    ],
)
def test_a_name_is_cleaned(text: str, name: str) -> None:
    assert clean_name(text) == name


def test_a_name_of_a_million_marks_costs_no_more_than_a_short_one(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []

    def normalize(form: str, text: str) -> str:
        lengths.append(len(text))
        return text

    monkeypatch.setattr(unicodedata, "normalize", normalize)
    clean_name("\u0301\u0323" * 500_000)
    assert lengths == [120]


@given(TEXTS)
def test_a_cleaned_name_is_one_that_a_join_takes_as_it_is(text: str) -> None:
    assert clean_username(clean_name(text)) == clean_name(text)


def test_a_user_whose_name_cannot_be_shown_does_not_get_in() -> None:
    refused(sub="\u202e\x00")


def test_the_token_and_its_times_are_kept() -> None:
    identity = found(jti="t-1", iat=NOW - 5, exp=NOW + 60)
    assert (identity.token, identity.issued, identity.expires) == ("t-1", NOW - 5, NOW + 90)


def test_without_them_nothing_is_known_of_the_token() -> None:
    assert (found().token, found().issued, found().expires) == ("", 0.0, None)


@pytest.mark.parametrize("jti", [7, None, ["t"], "t" * 256, "\udfff"])
def test_a_token_that_could_not_be_revoked_does_not_count(jti: object) -> None:
    refused(jti=jti)


@pytest.mark.parametrize("claim", ["iat", "exp"])
@pytest.mark.parametrize("value", ["1700000000", True, None, float("nan"), float("inf"), -1, 10**400, [1]])
def test_a_time_that_is_none_lets_nobody_in(claim: str, value: object) -> None:
    refused(Auth(), **{claim: value})


def test_what_has_expired_counts_for_as_long_as_clocks_may_differ() -> None:
    assert found(Auth(jwt_leeway_seconds=30), exp=NOW - 29).expires == NOW + 1
    refused(Auth(jwt_leeway_seconds=30), exp=NOW - 30)


def test_claims_are_kept_as_they_are() -> None:
    assert found(color="red", nested={"a": [1]}).claims == {"sub": "ann", "color": "red", "nested": {"a": [1]}}


JOIN_AND_HISTORY = frozenset({"join", "history"})


@pytest.mark.parametrize(
    ("rooms", "patterns"),
    [
        ([], ()),
        ({}, ()),
        (["team-*"], (("team-*", ALL),)),
        ([{"room": "team-*", "verbs": ["join", "history"]}], (("team-*", JOIN_AND_HISTORY),)),
        (["lobby", {"room": "t", "verbs": []}], (("lobby", ALL), ("t", frozenset()))),
        ({"team-*": ["join", "history"], "x": []}, (("team-*", JOIN_AND_HISTORY), ("x", frozenset()))),
        (["r"] * 1000, (("r", ALL),) * 1000),
    ],
)
def test_rooms_are_granted(rooms: object, patterns: tuple[Any, ...]) -> None:
    assert found(rooms=rooms).grants == Grants(patterns)


@pytest.mark.parametrize(
    "rooms",
    [
        *(None, "team-*", 7, True, [7], [None], [["team-*"]], [""], ["a" * 256], ["r"] * 1001),
        *([{"room": "r"}], [{"verbs": ["join"]}], [{"room": "r", "verbs": "join"}], [{"room": 7, "verbs": []}]),
        *([{"room": "r", "verbs": ["rule"]}], [{"room": "r", "verbs": [7]}], [{"room": "r", "verbs": [[]]}]),
        [{"room": "r", "verbs": ["join"], "until": 5}],
        *({"r": "join"}, {"r": None}, {"r": ["Join"]}, {"": ["join"]}, {str(i): [] for i in range(1001)}),
    ],
    ids=lambda rooms: str(rooms)[:30],
)
def test_a_list_of_rooms_that_is_not_understood_lets_nobody_in(rooms: object) -> None:
    refused(rooms=rooms)


@pytest.mark.parametrize(
    ("default", "grants"), [("*", None), ("", Grants(())), ("lobby-*", Grants((("lobby-*", ALL),)))]
)
def test_without_the_claim_the_default_counts(default: str, grants: Grants | None) -> None:
    assert found(Auth(rooms_default=default)).grants == grants


def test_the_claim_has_the_name_that_the_settings_give_it() -> None:
    settings = Auth(rooms_claim="https://chat.example/rooms", rooms_default="")
    assert found(settings, rooms=["a"]).grants == Grants(())
    assert found(settings, **{"https://chat.example/rooms": ["a"]}).grants == Grants((("a", ALL),))


@given(st.dictionaries(st.sampled_from(["sub", "name", "jti", "iat", "exp", "rooms"]), ANYTHING))
def test_whatever_the_claims_are_it_is_an_identity_or_a_refusal(claims: dict[str, Any]) -> None:
    try:
        identity = identity_of(claims, Auth(), lambda: NOW)
    except HandshakeError:
        return
    assert identity.name
    msgspec.json.encode((identity.user, identity.name, identity.token))
