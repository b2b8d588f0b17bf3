"""Clients that change their transport, through nginx to whichever of two nodes: one history for all of them."""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx
import pytest
from websockets.exceptions import WebSocketException

from tests.integration.test_nodes_behind_proxies import Pair
from tests.support.certificates import Authority, Files
from tests.support.history import History
from tests.support.proxies import NGINX, Proxy, proxied
from tests.support.readers import READERS, Reader, Refused
from tests.support.redis import RedisServer

READING, TALKING, SAID = 8, 4, 40
CHANGES_AFTER = 12
"""Events that a reader reads over one transport, at most."""
DEADLINE_SECONDS = 60
LOST = (httpx.HTTPError, WebSocketException, OSError, StopIteration, TimeoutError)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Authority(tmp_path_factory.mktemp("authority")).issue("server")


@pytest.fixture(scope="module")
def pair(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with Pair(tmp_path_factory.mktemp("nodes"), redis_server, most=1000) as running:
        yield running


@pytest.fixture(scope="module")
def proxy(pair: Pair, files: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with proxied(NGINX, tmp_path_factory.mktemp("proxy"), pair.nodes, files) as running:
        yield running


class Everybody:
    """Those who read and talk in one room.

    Attributes:
        said: each text, once it was acknowledged, with its seq.
        switched: how often somebody went on over another transport.
    """

    def __init__(self, url: str, history: History, tls: ssl.SSLContext) -> None:
        self.room = f"room {uuid4()}"
        self.said: dict[str, int] = {}
        self.switched = 0
        self._url = url
        self._history = history
        self._tls = tls
        with self._begin("websocket", "who begins", "") as first:
            self._start = first.place
        self._until = time.monotonic() + DEADLINE_SECONDS

    def _begin(self, transport: str, name: str, place: str) -> Reader:
        record = self._history.client(name)
        return READERS[transport](self._url, self.room, record, place, tls=self._tls, timeout=1)

    def read(self, name: str, count: int) -> list[str]:
        """The texts that somebody reads who goes on over another transport after some events."""
        chance = random.Random(name)
        place, texts = self._start, list[str]()
        while len(texts) < count and time.monotonic() < self._until:
            self.switched += 1
            try:
                with self._begin(chance.choice(list(READERS)), name, place) as reader:
                    for _ in range(min(chance.randint(1, CHANGES_AFTER), count - len(texts))):
                        event = reader.next()
                        place = reader.place_of(event)
                        texts.append(event["text"])
            except LOST:
                time.sleep(0.05)
        return texts

    def talk(self, name: str) -> None:
        """Says things over one transport after the other, again under the same id where there is no answer."""
        chance = random.Random(name)
        for number in range(SAID):
            text, once = f"{name} {number}", str(uuid4())
            while text not in self.said and time.monotonic() < self._until:
                try:
                    with self._begin(chance.choice(list(READERS)), f"talker {name}", "") as reader:
                        self.said[text] = reader.say(text, once, name)
                except (*LOST, Refused):
                    time.sleep(0.05)


def test_nothing_is_lost_or_doubled_where_clients_change_their_transport(
    proxy: Proxy, pair: Pair, history: History, files: Files
) -> None:
    history.nodes = 2
    everybody = Everybody(proxy.http, history, files.client())
    total = TALKING * SAID
    with ThreadPoolExecutor(READING + TALKING) as pool:
        reading = [pool.submit(everybody.read, f"reader {number}", total) for number in range(READING)]
        talking = [pool.submit(everybody.talk, f"talker {number}") for number in range(TALKING)]
        for done in talking:
            done.result()
        heard = [done.result() for done in reading]
    assert sorted(everybody.said.values()) == list(range(1, total + 1))
    in_order = sorted(everybody.said, key=lambda text: everybody.said[text])
    assert heard == [in_order] * READING
    assert everybody.switched > 3 * READING
    assert all(node.counters()["connections_opened"] for node in pair.nodes)
