"""hub.admission.network_of: which addresses count as one."""

import pytest

from hubbub.hub.admission import network_of


@pytest.mark.parametrize("address", ["203.0.113.7", "127.0.0.1", "testclient", ""])
def test_what_has_no_colon_counts_as_it_is(address: str) -> None:
    assert network_of(address) == address


@pytest.mark.parametrize("address", ["2001:db8:1:2::", "2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"])
def test_the_first_64_bits_of_ipv6_count(address: str) -> None:
    assert network_of(address) == "2001:db8:1:2::"


def test_a_zone_does_not_count() -> None:
    assert network_of("fe80::1%eth0") == network_of("fe80::2%eth1") == "fe80::"


@pytest.mark.parametrize("address", ["a:b", "%:", "unix:", "::ffff:1.2.3.4:80", "1:2:3:4:5:6:7:8:9", "[::1]:80"])
def test_what_is_no_address_counts_as_it_is(address: str) -> None:
    """As the servers of others may have it from an X-Forwarded-For."""
    assert network_of(address) == address
