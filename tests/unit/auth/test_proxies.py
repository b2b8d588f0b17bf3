"""auth.proxies: whose word counts for where a client is."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.auth.proxies import Proxies
from hubbub.errors import ConfigError

NETWORKS = [ip_network("10.0.0.0/8"), ip_network("fd00::/8"), ip_network("192.0.2.7")]
OURS = Proxies([str(network) for network in NETWORKS])
CLIENT = "203.0.113.9"

Headers = list[tuple[bytes, bytes]]


def forwarded(*lines: str) -> Headers:
    return [(b"x-forwarded-for", line.encode()) for line in lines]


def bare(text: str) -> str:
    """An address as it is to be written."""
    address = ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


# The peer


@pytest.mark.parametrize("peer", [CLIENT, "192.0.2.8", "11.0.0.1", "2001:db8::1", "fe80::1", "::ffff:203.0.113.9"])
def test_what_a_peer_that_is_not_trusted_says_is_ignored(peer: str) -> None:
    assert OURS.client(peer, forwarded("10.0.0.1, 198.51.100.1")) == peer.removeprefix("::ffff:")


def test_without_proxies_nobody_is_believed() -> None:
    assert Proxies([]).client("127.0.0.1", forwarded(CLIENT)) == "127.0.0.1"
    assert Proxies([""]).client("::1", forwarded(CLIENT)) == "::1"


@pytest.mark.parametrize(
    "peer", ["10.0.0.1", "10.255.255.255", "::ffff:10.0.0.1", "::ffff:a00:1", "fd00::1", "fd00::1%eth0"]
)
def test_what_a_trusted_peer_says_counts(peer: str) -> None:
    assert OURS.client(peer, forwarded(CLIENT)) == CLIENT


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        ("::ffff:203.0.113.9", CLIENT),
        ("2001:DB8:0::0:1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("", ""),
        (None, ""),
        ("testclient", "testclient"),
    ],
)
def test_a_peer_is_written_in_one_way(peer: str | None, expected: str) -> None:
    assert OURS.client(peer, forwarded("198.51.100.1")) == expected


def test_a_trusted_peer_that_says_nothing_is_the_client() -> None:
    assert OURS.client("10.0.0.1", []) == "10.0.0.1"
    assert OURS.client("10.0.0.1", [(b"forwarded", b"for=203.0.113.9"), (b"x-real-ip", b"203.0.113.9")]) == "10.0.0.1"


# The way back through the proxies


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("203.0.113.9", CLIENT),
        ("198.51.100.1, 203.0.113.9", CLIENT),
        ("198.51.100.1, 203.0.113.9, 10.0.0.2", CLIENT),
        ("198.51.100.1,203.0.113.9,192.0.2.7,fd00::2,::ffff:10.0.0.2", CLIENT),
        ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("\t203.0.113.9 \t", CLIENT),
    ],
)
def test_the_first_from_the_right_that_is_not_trusted_is_the_client(line: str, expected: str) -> None:
    assert OURS.client("10.0.0.1", forwarded(line)) == expected


def test_several_lines_are_one_in_their_order() -> None:
    assert OURS.client("10.0.0.1", forwarded("198.51.100.1", CLIENT, "10.0.0.3, 10.0.0.2")) == CLIENT
    assert OURS.client("10.0.0.1", [(b"X-Forwarded-For", b"203.0.113.9")]) == CLIENT


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("203.0.113.9:5678", CLIENT),
        ("[2001:db8::1]:80", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("[::ffff:203.0.113.9]:80", CLIENT),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_a_port_brackets_and_a_zone_are_taken_off(entry: str, expected: str) -> None:
    assert OURS.client("10.0.0.1", forwarded(entry)) == expected


@pytest.mark.parametrize(
    "entry",
    [
        *("", " ", "unknown", "_hidden", "localhost", "203.0.113", "203.0.113.256", "203.0.113.09", "3405803785"),
        *("203.0.113.9:", "203.0.113.9:x", "203.0.113.9:123456", ":80", "[::1", "::1]", "[::1]80", "[203.0.113.9"),
        *('"203.0.113.9"', "203.0.113.9 198.51.100.1", "203.0.113.9;", "203.0.113.9%1", "203.0.113.9/32", "٣.٣.٣.٣"),
        *("fe80::1%", "1" * 4000, "::" + "%" + "z" * 100, "203.0.113.9\0", "203.0.113.9\x0b", "\xa0203.0.113.9"),
    ],
)
def test_what_is_no_address_ends_the_way_at_the_last_proxy(entry: str) -> None:
    assert OURS.client("10.0.0.1", forwarded(f"198.51.100.1, {entry}, 10.0.0.2")) == "10.0.0.2"
    assert OURS.client("10.0.0.1", forwarded("198.51.100.1", entry)) == "10.0.0.1"


def test_only_so_many_entries_are_looked_at() -> None:
    proxies = ", ".join(f"10.0.1.{number}" for number in range(31))
    assert OURS.client("10.0.0.1", forwarded(f"{CLIENT}, {proxies}")) == CLIENT
    assert OURS.client("10.0.0.1", forwarded(f"{CLIENT}, 10.0.2.1, {proxies}")) == "10.0.2.1"


def test_where_everybody_is_trusted_the_first_of_all_is_the_client() -> None:
    everybody = Proxies(["*"])
    assert everybody.client("198.51.100.1", forwarded(f"{CLIENT}, 198.51.100.2")) == CLIENT
    assert everybody.client(None, forwarded(CLIENT)) == CLIENT
    assert everybody.client("198.51.100.1", forwarded("nobody")) == "198.51.100.1"


# The setting


@pytest.mark.parametrize("entry", ["10.0.0.1/8", "10.0.0.0/33", "proxy.example.com", "10.0.0.*", "fe80::1%eth0", "10"])
def test_a_setting_that_is_no_network_says_the_remedy(entry: str) -> None:
    with pytest.raises(ConfigError, match=r"^trusted_proxies: .* is no network; write"):
        Proxies(["127.0.0.1", entry])


def test_a_star_beside_others_says_the_remedy() -> None:
    with pytest.raises(ConfigError, match="remove it, or the others"):
        Proxies(["*", "10.0.0.0/8"])


@pytest.mark.parametrize("network", ["::ffff:10.0.0.0/104", "::ffff:a00:1", " 10.0.0.1 "])
def test_a_network_of_ipv4_in_ipv6_is_one_of_ipv4(network: str) -> None:
    assert Proxies([network]).client("10.0.0.1", forwarded(CLIENT)) == CLIENT


@pytest.mark.parametrize(
    "networks",
    [["*"], ["0.0.0.0/0"], ["::/0"], ["0.0.0.0/1", "128.0.0.0/1"], ["::ffff:0:0/96"], ["10.0.0.0/8", "::/0"]],
)
def test_all_there_is_is_everybody_however_it_is_written(networks: list[str]) -> None:
    assert Proxies(networks).everybody


@pytest.mark.parametrize("networks", [[], [""], ["10.0.0.0/8"], ["0.0.0.0/1"], ["127.0.0.1", "::1"]])
def test_a_part_is_not_everybody(networks: list[str]) -> None:
    assert not Proxies(networks).everybody


# What limits count


# Anything at all

addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)
proxies = st.one_of(st.ip_addresses(network="10.0.0.0/8"), st.ip_addresses(network="fd00::/8")).map(str)
forged = st.lists(
    st.one_of(st.binary(max_size=60), st.lists(proxies, max_size=40).map(lambda of: ",".join(of).encode()))
)


strangers = addresses.filter(lambda text: not any(ip_address(bare(text)) in network for network in NETWORKS))


@given(strangers, forged, st.lists(proxies, max_size=8), st.booleans())
def test_whatever_a_client_forges_it_has_its_own_address(
    client: str, forged: list[bytes], passed: list[str], same_line: bool
) -> None:
    """Each proxy adds whom it was called by to what the client sent, in its last line or in one more."""
    *seen, peer = [client, *passed]
    lines = forged
    if seen:
        added = ", ".join(seen).encode()
        lines = [*forged[:-1], forged[-1] + b", " + added] if forged and same_line else [*forged, added]
    assert OURS.client(peer, [(b"x-forwarded-for", line) for line in lines]) == bare(client)


@given(
    st.one_of(st.none(), st.text(), addresses),
    st.lists(st.binary(max_size=80)),
    st.sampled_from([OURS, Proxies(["*"])]),
)
def test_whatever_comes_there_is_an_answer(peer: str | None, lines: list[bytes], trusted: Proxies) -> None:
    found = trusted.client(peer, [(b"x-forwarded-for", line) for line in lines])
    assert OURS.client(found, []) == found
