"""Makes docs/images: a server with a believable conversation, drawn by Chromium in light, in dark and on a phone."""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support.chatter import Chatter, chatting
from tests.support.server import FAST, Server, serve

IMAGES = Path(__file__).parent / "images"
STAGE = "tests.support.staged:app"
OPTIONS = ("--rate-limit", "0", "--user-rate", "0", "--room-rate", "0")
ARGUMENTS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
# What "system-ui" is differs from one machine to the next; this is there on most of them.
FONTS = """<fontconfig>
<include>/etc/fonts/fonts.conf</include>
<match target="pattern">
  <edit name="family" mode="prepend" binding="strong"><string>Liberation Sans</string></edit>
</match>
</fontconfig>
"""
DESK = {"width": 1280, "height": 776}
PHONE = {"width": 390, "height": 844}
VARIANTS = (("light", False), ("dark", False), ("light", True), ("dark", True))
TODAY = datetime(2026, 5, 13, tzinfo=UTC)
NOW = TODAY + timedelta(hours=9, minutes=56)
VIEWER = "Ada"
ROOM = "launch"
SECONDS_OF_LOAD = 64
"""Until the dashboard's chart has no gap."""

YESTERDAY = (
    ("16:02", "Radia", "Staging got through the whole afternoon: 5,000 clients, and a node killed every ten minutes."),
    ("16:02", "Radia", "Nothing was lost. I compared the logs twice."),
    ("16:09", "Grace", "What did people see when a node went down?"),
    ("16:10", "Radia", "A yellow line at the top for about a second, and then it was gone."),
    ("16:14", "Ada", "Then we ship tomorrow. I'll write the notes tonight."),
)
THIS_MORNING = (
    ("09:14", "Grace", "Morning! Are the notes ready to be read?"),
    ("09:16", "Ada", "Almost. One paragraph on rolling restarts is missing."),
    ("09:21", "Margaret", "I can take that one, I did the last drill."),
    ("09:22", "Ada", "Please do! It's the last one on the page."),
    (
        "09:47",
        "Margaret",
        "Done. It says what happens to open tabs, and what to do when a node doesn't come back:\n"
        "1. leave the others alone, they already have its clients\n"
        "2. read its log\n"
        "3. start it again",
    ),
    ("09:52", "Grace", "Reads well. Ship it!"),
    ("09:55", "Ada", "Shipping at noon."),
)
ELSEWHERE = {
    "design": (
        ("09:31", "Susan", "New icons are in. Tell me what you think."),
        ("09:40", "Tim", "The bell is lovely."),
    ),
    "support": (("09:50", "Ken", "Somebody asks whether history survives a restart. It does, right?"),),
}


def told(lines: tuple[tuple[str, str, str], ...], day: datetime) -> list[dict[str, Any]]:
    """Messages as events, at their times of a day."""
    events: list[dict[str, Any]] = []
    for clock, username, text in lines:
        hours, minutes = map(int, clock.split(":"))
        said = day + timedelta(hours=hours, minutes=minutes, seconds=len(events))
        events.append(
            {
                "type": "message",
                "username": username,
                "text": text,
                "messageId": f"{day:%d} {clock} {len(events)}",
                "timestamp": int(said.timestamp() * 1000),
            }
        )
    return events


class Cast:
    """The people who are there beside the one whose page is drawn."""

    def __init__(self, server: Server, stack: ExitStack) -> None:
        self._server = server
        self._stack = stack

    def come(self, room: str, *usernames: str) -> list[Chatter]:
        people = [self._stack.enter_context(chatting(f"{self._server.ws}/ws?session=")) for _ in usernames]
        for person, username in zip(people, usernames, strict=True):
            person.send(type="join", room=room, username=username)
            person.until("room_info")
        return people

    def tell(self, room: str, events: list[dict[str, Any]]) -> None:
        with chatting(f"{self._server.ws}/ws") as teller:
            teller.send(type="join", room=room, username="-")
            teller.until("room_info")
            teller.send(type="tell", events=events, id=1)
            teller.until("ok")


def conversation() -> list[dict[str, Any]]:
    said = told(YESTERDAY, TODAY - timedelta(days=1)) + told(THIS_MORNING, TODAY)
    edited = len(YESTERDAY) + 2
    return [*said, {**said[edited - 1], "type": "edited", "of": edited}]


def open_page(browser: Browser, phone: bool, scheme: str, **options: Any) -> Page:
    context = browser.new_context(
        locale="en-GB",
        permissions=["notifications"],
        timezone_id="UTC",
        color_scheme=scheme,  # type: ignore[arg-type]
        viewport=PHONE if phone else DESK,  # type: ignore[arg-type]
        device_scale_factor=1.5 if phone else 1,
        has_touch=phone,
        is_mobile=phone,
        **options,
    )
    return context.new_page()


def draw(page: Page, name: str) -> None:
    page.screenshot(path=IMAGES / f"{name}.png")


# The chat

OWN = """own => {
    sessionStorage.setItem("hubbub.own", own);
    sessionStorage.setItem("hubbub.name", "Ada");
    sessionStorage.setItem("hubbub.rooms", "launch\\ndesign\\nsupport");
}"""


def draw_chat(browser: Browser, server: Server, scheme: str, phone: bool) -> None:
    events = conversation()
    own = [
        [event["messageId"], seq]
        for seq, event in enumerate(events, 1)
        if event["username"] == VIEWER and event["type"] == "message"
    ]
    page = open_page(browser, phone, scheme)
    page.clock.set_fixed_time(NOW)
    page.add_init_script(f"({OWN})({json.dumps(json.dumps(own))})")
    with ExitStack() as stack:
        cast = Cast(server, stack)
        grace, margaret, radia = cast.come(ROOM, "Grace", "Margaret", "Radia")
        page.goto(f"{server.http}/#{ROOM}")
        expect(page.get_by_role("status")).to_have_text("Connected")
        expect(page.get_by_text("Shipping at noon.")).to_be_visible()
        for room, lines in ELSEWHERE.items():
            cast.tell(room, told(lines, TODAY))
        for reader in (grace, margaret):
            reader.send(type="ack", room=ROOM, seq=len(events))
        expect(page.locator(".seen").last).to_have_text("Seen by Grace, Margaret")
        radia.send(type="typing")
        expect(page.locator("p.typing")).to_contain_text("Radia")
        draw(page, f"chat-{'phone-' * phone}{scheme}")
    page.context.close()


# The dashboard


@contextmanager
def load(server: Server, count: int = 12) -> Iterator[None]:
    """People who say something now and then, more of it and less."""
    ended = threading.Event()

    def talk(number: int) -> None:
        rng = random.Random(number)
        with chatting(f"{server.ws}/ws?session=") as person:
            person.send(type="join", room=f"load {number % 4}", username=f"person {number}")
            while not ended.is_set():
                person.send(type="message", text="hello", id=1)
                person.until("ok")
                busy = 1.5 + math.sin(time.monotonic() / 9) + 0.4 * math.sin(time.monotonic() / 2.3)
                ended.wait(rng.uniform(0.01, 0.05) / max(busy, 0.15))

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def draw_dashboard(browser: Browser, server: Server, scheme: str, phone: bool) -> None:
    page = open_page(browser, phone, scheme)
    page.goto(f"{server.http}/dashboard")
    expect(page.get_by_role("status").first).to_contain_text("Connected")
    page.locator(".card[data-metric=requestsPerSecond]").click()
    expect(page.locator(".card[data-metric=requestsPerSecond] .value")).not_to_have_text("–")
    page.mouse.move(0, 0)
    draw(page, f"dashboard-{'phone-' * phone}{scheme}")
    page.context.close()


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        raise SystemExit("the pictures need Chromium: make browser")
    fonts = folder / "fonts.conf"
    fonts.write_text(FONTS)
    variables: dict[str, str | float | bool] = {**os.environ, "FONTCONFIG_FILE": str(fonts)}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS, env=variables)
        yield browser
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("chat", "dashboard"), help="the pictures of one page")
    only = parser.parse_args().only
    IMAGES.mkdir(exist_ok=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        browser = stack.enter_context(chromium(folder))
        server = stack.enter_context(serve(folder, FAST, *OPTIONS, target=STAGE))
        if only != "dashboard":
            Cast(server, stack).tell(ROOM, conversation())
            for scheme, phone in VARIANTS:
                draw_chat(browser, server, scheme, phone)
        if only != "chat":
            stack.enter_context(load(server))
            time.sleep(SECONDS_OF_LOAD)
            for scheme, phone in VARIANTS:
                draw_dashboard(browser, server, scheme, phone)


if __name__ == "__main__":
    main()
