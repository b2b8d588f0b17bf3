"""Floods of connections: how many an address, a user and the server have, exactly, and whose address counts."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from hubbub.wire.websocket import CLOSE, FIN
from tests.hostile.test_credentials import ticket_request
from tests.hostile.test_handshake import request
from tests.hostile.witness import HonestPeer
from tests.support.credentials import Issuer, bearer, secret_issuer
from tests.support.peer import Peer, command, frame, text
from tests.support.server import Server

ATTACKER, OTHER, PROXY = "127.0.0.66", "127.0.0.67", "127.0.0.99"
CAP = 5


@pytest.fixture(scope="session")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return secret_issuer(tmp_path_factory.mktemp("issuer"))


@pytest.fixture(autouse=True)
def alone(witness: None, server: Server) -> Iterator[None]:
    """Only the witness is connected before and after: what was taken is given back."""
    server.wait_for_connections(1)
    yield
    server.wait_for_connections(1)


def caps(**settings: float) -> pytest.MarkDecorator:
    """Has the server run with these limits."""
    options = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return pytest.mark.parametrize("options", [("--auth", "anonymous", *options)], ids=[" ".join(settings)])


PER_ADDRESS = caps(max_connections_per_address=CAP)


@contextmanager
def knocking(server: Server, count: int, *lines: str, source: str = ATTACKER) -> Iterator[list[tuple[int, bytes]]]:
    """Handshakes that are all under way at once; those that were let in stay until the block ends.

    Yields:
        the status and the head of each answer.
    """
    data = request(*(line.encode() for line in lines))
    with ExitStack() as stack:
        peers = [stack.enter_context(Peer(server.port, source=source)) for _ in range(count)]
        for peer in peers:
            peer.send(data[:-2])
        for peer in peers:
            peer.send(data[-2:])
        yield [answer_of(peer) for peer in peers]


def answer_of(peer: Peer) -> tuple[int, bytes]:
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += peer.socket.recv(65536) or b"\r\n\r\n"
    return int(answer.split(b" ", 2)[1]), answer


def codes_of(answers: list[tuple[int, bytes]]) -> Counter[int]:
    return Counter(code for code, _ in answers)


def code_of(server: Server, *lines: str, source: str = ATTACKER) -> int:
    """The status of one handshake, whose connection ends."""
    with knocking(server, 1, *lines, source=source) as answers:
        return answers[0][0]


# Row 10


@PER_ADDRESS
def test_row_10_who_is_no_trusted_proxy_cannot_choose_an_address(server: Server) -> None:
    with ExitStack() as stack:
        codes = [
            stack.enter_context(knocking(server, 1, f"X-Forwarded-For: 203.0.113.{number}"))[0][0]
            for number in range(2 * CAP)
        ]
    assert codes == [101] * CAP + [429] * CAP


@PER_ADDRESS
def test_row_10_who_is_no_trusted_proxy_cannot_use_up_the_place_of_another(server: Server) -> None:
    with knocking(server, CAP, f"X-Forwarded-For: {OTHER}") as answers:
        assert codes_of(answers) == {101: CAP}
        assert code_of(server, source=OTHER) == 101


BEHIND = ("--auth", "anonymous", "--trusted-proxies", f"{PROXY} 10.0.0.0/8", "--max-connections-per-address", str(CAP))
BEHIND_A_PROXY = pytest.mark.parametrize("options", [BEHIND], ids=["behind a proxy"])
SAME_CLIENT = {
    "alone": "203.0.113.7",
    "right of its own words": "198.51.100.1, 203.0.113.7",
    "left of another proxy": "203.0.113.7, 10.1.2.3",
    "between both": "198.51.100.1, 203.0.113.7, 10.1.2.3, 10.3.2.1",
    "with a port": "203.0.113.7:4711",
    "as IPv6": "::ffff:203.0.113.7",
    "behind nonsense": "<script>, 203.0.113.7",
    "in a second line": "198.51.100.1\r\nX-Forwarded-For: 203.0.113.7",
}


@BEHIND_A_PROXY
@pytest.mark.parametrize("forwarded", SAME_CLIENT.values(), ids=SAME_CLIENT)
def test_row_10_a_trusted_proxy_says_whose_the_connection_is(server: Server, forwarded: str) -> None:
    """Read from the right: what the client itself has written in front does not count."""
    with knocking(server, CAP, "X-Forwarded-For: 203.0.113.7", source=PROXY) as answers:
        assert codes_of(answers) == {101: CAP}
        assert code_of(server, f"X-Forwarded-For: {forwarded}", source=PROXY) == 429
        assert code_of(server, "X-Forwarded-For: 203.0.113.7, 203.0.113.8", source=PROXY) == 101


@BEHIND_A_PROXY
def test_row_10_a_trusted_proxy_is_trusted_and_nobody_else(server: Server) -> None:
    with knocking(server, CAP, "X-Forwarded-For: 203.0.113.9", source=ATTACKER) as answers:
        assert codes_of(answers) == {101: CAP}
        assert code_of(server, "X-Forwarded-For: 203.0.113.9", source=PROXY) == 101
        assert code_of(server, "X-Forwarded-For: 203.0.113.10", source=ATTACKER) == 429


@BEHIND_A_PROXY
def test_row_10_addresses_of_one_customer_are_one(server: Server) -> None:
    with ExitStack() as stack:
        for number in range(CAP):
            line = f"X-Forwarded-For: 2001:db8:1:2:{number}::1"
            assert stack.enter_context(knocking(server, 1, line, source=PROXY))[0][0] == 101
        assert code_of(server, "X-Forwarded-For: 2001:db8:1:2:ffff::1", source=PROXY) == 429
        assert code_of(server, "X-Forwarded-For: 2001:db8:1:3::1", source=PROXY) == 101


# Row 11


def says_when(answer: bytes, limit: bytes) -> bool:
    """Whether a refusal names the limit and says when to come again."""
    after = answer.lower().partition(b"\r\nretry-after: ")[2].partition(b"\r\n")[0]
    return after.isdigit() and int(after) >= 1 and b"(%b)" % limit in answer


@caps(max_connections_per_address=100)
def test_row_11_the_cap_of_an_address_is_exact_for_hundreds_at_once(server: Server) -> None:
    with knocking(server, 400) as answers:
        assert codes_of(answers) == {101: 100, 429: 300}
        assert all(says_when(answer, b"max_connections_per_address") for code, answer in answers if code == 429)
        assert code_of(server, source=OTHER) == 101


@caps(max_connections=101)
def test_row_11_the_cap_of_the_server_is_exact_for_hundreds_at_once(server: Server) -> None:
    with knocking(server, 200) as ours, knocking(server, 100, source=OTHER) as others:
        assert codes_of(ours) + codes_of(others) == {101: 100, 503: 200}
        assert all(says_when(answer, b"max_connections") for code, answer in ours + others if code == 503)


class TestUsers:
    """Where there are users, and the witness is one."""

    @pytest.fixture
    def options(self, issuer: Issuer) -> tuple[str, ...]:
        return (*issuer.options, "--max-connections-per-user", "50", "--handshake-burst", "3000")

    @pytest.fixture
    def headers(self, issuer: Issuer) -> tuple[str, ...]:
        return (bearer(issuer.token("u-witness")),)

    def test_row_11_the_cap_of_a_user_is_exact_for_hundreds_at_once(self, server: Server, issuer: Issuer) -> None:
        """However many tokens the user has, and wherever they come from."""
        with ExitStack() as stack:
            answers = []
            for source in (ATTACKER, OTHER):
                token = bearer(issuer.token("u-crowd"))
                answers += stack.enter_context(knocking(server, 150, token, source=source))
            assert codes_of(answers) == {101: 50, 429: 250}
            assert all(says_when(answer, b"max_connections_per_user") for code, answer in answers if code == 429)
            assert code_of(server, bearer(issuer.token("u-other"))) == 101

    def test_row_11_a_ticket_brings_no_further_place(self, server: Server, issuer: Issuer) -> None:
        token = bearer(issuer.token("u-crowd"))
        with Peer(server.port, source=OTHER) as peer:
            _, answer = peer.http(ticket_request(token))
        ticket = answer.partition(b'"ticket":"')[2].partition(b'"')[0].decode()
        with knocking(server, 50, token), Peer(server.port, source=OTHER) as late:
            late.send(request(start=f"GET /ws?ticket={ticket} HTTP/1.1".encode()))
            assert answer_of(late)[0] == 429


def goodbye(peer: Peer) -> None:
    peer.send(frame(FIN | CLOSE, b"\x03\xe8"))
    peer.read_to_end()


def malformed(peer: Peer) -> None:
    peer.send(text("nonsense") * 10)
    assert peer.close_code() == 4400


def violation(peer: Peer) -> None:
    peer.send(b"\x81\x00")
    assert peer.close_code() == 1002


def at_work(peer: Peer) -> None:
    peer.send(command(type="join", room="places", username="ada") + command(type="slow", text="late", seconds=0.2))
    peer.event("room_info")
    peer.reset()


def silent(peer: Peer) -> None:
    peer.send(frame(FIN | CLOSE, b"\x03\xe8"))  # and does not end its side


ENDINGS: dict[str, Callable[[Peer], None]] = {
    "a close frame": goodbye,
    "a reset": lambda peer: peer.reset(),
    "the end of TCP": lambda peer: peer.socket.close(),
    "our 4400": malformed,
    "our 1002": violation,
    "a reset while a handler works": at_work,
    "half a close": silent,
}


@PER_ADDRESS
@pytest.mark.parametrize("end", ENDINGS.values(), ids=ENDINGS)
def test_row_11_a_place_is_given_back_after_every_ending(server: Server, end: Callable[[Peer], None]) -> None:
    with ExitStack() as stack:
        for _ in range(CAP):
            peer = stack.enter_context(HonestPeer(server.port, source=ATTACKER))
            peer.open()
            peer.event("connected")
            end(peer)
        server.wait_for_connections(1)
        with knocking(server, CAP + 1) as answers:
            assert codes_of(answers) == {101: CAP, 429: 1}


UNFINISHED = {
    "no sub-protocol that is known": request(b"Sec-WebSocket-Protocol: soap"),
    "a foreign Origin": request(b"Origin: https://evil.example"),
    "another path": request(start=b"GET /nope HTTP/1.1"),
    "a request that does not end": request()[:-2],
    "a plain request": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
}


@PER_ADDRESS
@pytest.mark.parametrize("data", UNFINISHED.values(), ids=UNFINISHED)
def test_row_11_a_handshake_that_fails_takes_no_place(server: Server, data: bytes) -> None:
    with ExitStack() as stack:
        for _ in range(3 * CAP):
            stack.enter_context(Peer(server.port, source=ATTACKER)).send(data)
        with knocking(server, CAP + 1) as answers:
            assert codes_of(answers) == {101: CAP, 429: 1}


@PER_ADDRESS
def test_row_11_who_goes_before_the_answer_takes_no_place(server: Server) -> None:
    for _ in range(3 * CAP):
        with Peer(server.port, source=ATTACKER) as peer:
            peer.send(request())
            peer.reset()
    server.wait_for_connections(1)
    with knocking(server, CAP + 1) as answers:
        assert codes_of(answers) == {101: CAP, 429: 1}


@caps(handshake_rate=0.001, handshake_burst=30)
def test_row_11_handshakes_of_an_address_have_a_rate(server: Server) -> None:
    """Also those that come to nothing, and requests for tickets."""
    foreign = Counter(code_of(server, "Origin: https://evil.example") for _ in range(20))
    assert foreign == {403: 20}
    with Peer(server.port, source=ATTACKER) as peer:
        assert peer.http(ticket_request())[0] == 401
    with knocking(server, 20) as answers:
        assert codes_of(answers) == {101: 9, 429: 11}
        assert all(says_when(answer, b"handshake_rate") for code, answer in answers if code == 429)
    with Peer(server.port, source=ATTACKER) as peer:
        code, answer = peer.http(ticket_request())
    assert code == 429
    assert b"handshake_rate" in answer
    assert code_of(server, source=OTHER) == 101
