"""protocol/PROTOCOL.md and HTTP.md say the same as the data beside them and the settings."""

import json
import re

import pytest

from hubbub.config import settings
from tests.support.server import ROOT

FOLDER = ROOT / "protocol"
PAGE = (FOLDER / "PROTOCOL.md").read_text()
CODES = json.loads((FOLDER / "codes.json").read_text())
DIALOGUES = sorted((FOLDER / "dialogues").glob("*.json"))
SETTINGS = {setting.name: setting for setting in settings()}
PAGES = {"PROTOCOL.md": PAGE, "HTTP.md": (FOLDER / "HTTP.md").read_text()}
NAMED = sorted(
    {
        (page, name)
        for page, text in PAGES.items()
        for name in re.findall(r"`([a-z]+(?:_[a-z]+)*)`", text)
        if name in SETTINGS
    }
)


def rows(start: str) -> list[str]:
    """The rows of the table whose head begins so."""
    _, _, rest = PAGE.partition(start)
    table = rest.partition("\n\n")[0]
    return [line for line in table.split("\n") if line.startswith("| ")]


def test_the_close_codes_are_those_of_the_catalogue() -> None:
    expected = [f"| {entry['code']} | {entry['meaning']} | {entry['client']} |" for entry in CODES["close"]]
    assert rows("| code | meaning | the client should |") == expected


def test_the_error_codes_are_those_of_the_catalogue() -> None:
    expected = [f"| `{entry['code']}` | {entry['meaning']} |" for entry in CODES["error"]]
    assert rows("| code | meaning |\n") == expected


@pytest.mark.parametrize("number", range(len(DIALOGUES)))
def test_every_dialogue_is_named_with_its_number(number: int) -> None:
    file = DIALOGUES[number]
    name = json.loads(file.read_text())["name"]
    assert file.name.startswith(f"{number + 1:02}-")
    assert f"{number + 1:02} {name}" in PAGE


def forms(default: object) -> set[str]:
    """How a page may write a default."""
    if isinstance(default, str):
        return {default}
    number = float(str(default))
    return {f"{number:,g}", f"{number:g}", f"{number:,.0f}", f"{number * 1000:g}", "ten" if number == 10 else ""}


@pytest.mark.parametrize(("page", "name"), NAMED)
def test_a_page_gives_a_setting_s_own_default(page: str, name: str) -> None:
    setting = SETTINGS[name]
    if isinstance(setting.default, bool) or setting.default == "":
        return
    lines = [line for line in PAGES[page].split("\n") if f"`{setting.name}`" in line]
    assert any(form and re.search(rf"\b{form}\b", line) for form in forms(setting.default) for line in lines)


def test_the_page_is_short_enough_to_be_read() -> None:
    assert all(len(text.splitlines()) <= 400 for text in PAGES.values())
