"""Streams and polls in curl, as somebody looks at them in a terminal."""

import json
import os
import re
import shutil
import signal
import subprocess
from uuid import uuid4

import pytest

from tests.conftest import Servers
from tests.support.chatter import chatting
from tests.support.server import FAST, ROOT


@pytest.mark.parametrize("options", [("-N",), ("-N", "--compressed"), ("-N", "--http1.0")], ids=" ".join)
@pytest.mark.parametrize(("path", "line"), [("/sse", b'data: {"type":"message"'), ("/stream", b'{"type":"message"')])
def test_each_event_is_shown_as_it_comes(servers: Servers, options: tuple[str, ...], path: str, line: bytes) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.fail("this test needs curl: make browser")
    server, room = servers(FAST, "--rate-limit", "0"), f"room-{uuid4()}"
    command = [curl, "-sS", *options, "--max-time", "20", f"{server.http}{path}?room={room}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as shown, chatting(f"{server.ws}/ws") as ada:
        assert shown.stdout is not None
        while b"room_info" not in shown.stdout.readline():
            pass
        ada.join(room, "ada")
        for text in ("one", "two"):
            ada.send(type="message", text=text)
            while line not in (read := shown.stdout.readline()):
                assert read, "curl has ended"
        shown.kill()


def test_the_loop_of_the_documentation_gets_everything_once(servers: Servers) -> None:
    found = re.search("```sh\n(.*?)```", (ROOT / "docs/api.md").read_text(), re.DOTALL)
    assert found is not None
    server, room = servers(FAST, "--rate-limit", "0"), f"room-{uuid4()}"
    loop = found[1].replace("http://127.0.0.1:8080", server.http).replace("room=lobby", f"room={room}")
    command = ["sh", "-c", loop]
    with (
        chatting(f"{server.ws}/ws") as ada,
        subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as polling,
    ):
        assert polling.stdout is not None
        ada.join(room, "ada")
        texts = [f'{number} "since":"' for number in range(5)]
        read = list[str]()
        for text in texts:
            ada.ask(type="message", text=text)
            while text not in read:
                read += [event["text"] for event in json.loads(polling.stdout.readline())["events"]]
        os.killpg(polling.pid, signal.SIGKILL)  # and its curl
    assert read == texts
