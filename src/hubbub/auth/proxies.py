"""Which address a client has: the peer's, or the one that trusted proxies wrote into X-Forwarded-For."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    collapse_addresses,
    ip_address,
    ip_network,
)
from typing import Final

from hubbub.auth.headers import Headers, values_of
from hubbub.errors import ConfigError

ALL: Final = "*"
MOST_ENTRIES: Final = 32
# The longest IPv6 address has 45 characters; the rest is for brackets, a zone and a port.
_LONGEST: Final = 80
_WITH_PORT: Final = re.compile(r"([0-9.]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}")
_MAPPED: Final = IPv6Network("::ffff:0:0/96")

Address = IPv4Address | IPv6Address


class Proxies:
    """The proxies whose X-Forwarded-For counts.

    Args:
        networks: such as `10.0.0.0/8`, or single addresses; a `*` alone trusts everybody.

    Attributes:
        everybody: whether all addresses of IPv4 or of IPv6 are trusted, so that clients choose their own.

    Raises:
        ConfigError: one of them is no network.
    """

    def __init__(self, networks: Sequence[str]) -> None:
        entries = [entry for entry in map(str.strip, networks) if entry]
        self._all = entries == [ALL]
        read = [] if self._all else [_configured(entry) for entry in entries]
        # Two halves of the internet are the whole of it.
        self._v4 = tuple(collapse_addresses(network for network in read if isinstance(network, IPv4Network)))
        self._v6 = tuple(collapse_addresses(network for network in read if isinstance(network, IPv6Network)))
        self.everybody = self._all or any(
            network.prefixlen == 0 for networks in (self._v4, self._v6) for network in networks
        )

    def client(self, peer: str | None, headers: Headers) -> str:
        """The client's address in its shortest form; IPv4 in IPv6 as IPv4, and without a zone.

        Each proxy adds at the right whom it was called by. So the first from the right that is not trusted is the
        client, and what stands left of it is the client's own words. Never raises.

        Args:
            peer: the other end of the connection. None, or what is no address: it is not trusted, unless all are.

        Returns:
            The address; the peer as it is where that is no address, empty where it is None.
        """
        address = _read(peer or "")
        found = peer or "" if address is None else str(address)
        if not self._trusts(address):
            return found
        for entry in _forwarded(headers):
            address = _read(entry)
            if address is None:
                break
            found = str(address)
            if not self._trusts(address):
                break
        return found

    def _trusts(self, address: Address | None) -> bool:
        if self._all or address is None:
            return self._all
        if isinstance(address, IPv4Address):
            return any(address in network for network in self._v4)
        return any(address in network for network in self._v6)


def _forwarded(headers: Headers) -> list[str]:
    """The entries of X-Forwarded-For from the right, so many as are looked at; none where there is no such header."""
    lines = values_of(headers, b"x-forwarded-for")
    entries = b",".join(lines).rsplit(b",", MOST_ENTRIES)[-MOST_ENTRIES:] if lines else []
    return [entry.strip(b" \t").decode("latin-1") for entry in reversed(entries)]


def _read(text: str) -> Address | None:
    """An address, with a port or without; None for anything else."""
    return None if len(text) > _LONGEST else _parse(text)


@lru_cache(maxsize=1024)  # who comes once comes again, and so do proxies; benchmark P6
def _parse(text: str) -> Address | None:
    match = _WITH_PORT.fullmatch(text)
    bare = match[1] if match else text
    try:
        return _plain(ip_address(bare[1:-1] if bare.startswith("[") and bare.endswith("]") else bare))
    except ValueError:
        return None


def _plain(address: Address) -> Address:
    """IPv4 out of IPv6, where sockets that serve both have it; and no zone, which means nothing to others."""
    if isinstance(address, IPv4Address):
        return address
    return address.ipv4_mapped or IPv6Address(int(address))


def _configured(entry: str) -> IPv4Network | IPv6Network:
    if entry == ALL:
        raise ConfigError("trusted_proxies: * trusts everybody, so it stands alone; remove it, or the others")
    try:
        network = ip_network(entry)
    except ValueError:
        network = None
    if network is None or "%" in entry:
        raise ConfigError(
            f"trusted_proxies: {entry!r} is no network; write an address, or a network by its first address, such as"
            " 10.0.0.0/8 or fd00::/8"
        )
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        mapped = network.network_address.ipv4_mapped
        assert mapped is not None
        return IPv4Network((mapped, network.prefixlen - 96))
    return network
