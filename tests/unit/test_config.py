"""config: where a setting comes from, and what it must not be."""

from __future__ import annotations

from pathlib import Path

import pytest

from hubbub.config import Config, Setting, differences, load, settings
from hubbub.errors import ConfigError

NOTHING: dict[str, str] = {}


def write(folder: Path, text: str) -> Path:
    file = folder / "hubbub.toml"
    file.write_text(text)
    return file


def setting(name: str) -> Setting:
    return next(setting for setting in settings() if setting.name == name)


# Sources


def test_without_anything_there_are_defaults() -> None:
    assert load(environ=NOTHING) == Config()


def test_a_file_beats_the_default(tmp_path: Path) -> None:
    file = write(tmp_path, "[server]\nport = 9000\n[limits]\nrate_limit = 5\n")
    config = load(environ=NOTHING, file=file)
    assert (config.server.port, config.limits.rate_limit, config.server.host) == (9000, 5.0, "127.0.0.1")


def test_a_variable_beats_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, "[server]\nport = 9000\n")
    assert load(environ={"HUBBUB_PORT": "9001"}, file=file).server.port == 9001


def test_an_option_beats_the_variable() -> None:
    assert load({"port": 9002}, {"HUBBUB_PORT": "9001"}).server.port == 9002


def test_an_option_that_is_not_given_beats_nothing() -> None:
    assert load({"port": None}, {"HUBBUB_PORT": "9001"}).server.port == 9001


def test_the_processs_own_variables_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUBBUB_PORT", "9003")
    assert load().server.port == 9003


def test_other_variables_are_none_of_our_business() -> None:
    assert load(environ={"PORT": "1", "HUBBUB_CONFIG": "x.toml"}) == Config()


def test_a_variable_of_ours_that_is_no_setting_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^HUBBUB_RATELIMIT: there is no such setting$"):
        load(environ={"HUBBUB_RATELIMIT": "5"})


@pytest.mark.parametrize("value", ["1e10", "99999999999999999999"])
def test_a_number_beyond_all_sense_is_refused(value: str) -> None:
    with pytest.raises(ConfigError, match=r"^HUBBUB_IDLE_SECONDS: 1e.* is more than 2147483647$"):
        load(environ={"HUBBUB_IDLE_SECONDS": value})


def test_heartbeats_are_at_most_an_hour_apart() -> None:
    assert load(environ={"HUBBUB_HEARTBEAT_SECONDS": "3600"}).heartbeat.heartbeat_seconds == 3600
    with pytest.raises(ConfigError, match=r"^HUBBUB_HEARTBEAT_SECONDS: 3601 is more than 3600$"):
        load(environ={"HUBBUB_HEARTBEAT_SECONDS": "3601"})


# Values


@pytest.mark.parametrize("text", ["true", "YES", "on", "1"])
def test_a_switch_may_be_switched_on_in_words(text: str) -> None:
    assert load(environ={"HUBBUB_DEFLATE_TAKEOVER": text}).websocket.deflate_takeover is True


@pytest.mark.parametrize("text", ["false", "No", "OFF", "0"])
def test_a_switch_may_be_switched_off_in_words(text: str) -> None:
    assert load(environ={"HUBBUB_DEFLATE": text}).websocket.deflate is False


def test_a_switch_in_a_file_is_a_boolean(tmp_path: Path) -> None:
    assert load(environ=NOTHING, file=write(tmp_path, "[server]\ntakeover = false\n")).server.takeover is False


def test_a_whole_number_will_do_for_a_number(tmp_path: Path) -> None:
    rate = load(environ=NOTHING, file=write(tmp_path, "[limits]\nrate_limit = 5\n")).limits.rate_limit
    assert (rate, type(rate)) == (5.0, float)


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("HUBBUB_PORT", "http", "HUBBUB_PORT: 'http' is not a whole number"),
        ("HUBBUB_PORT", "80.5", "HUBBUB_PORT: '80.5' is not a whole number"),
        ("HUBBUB_PORT", "", "HUBBUB_PORT: '' is not a whole number"),
        ("HUBBUB_PORT", "-1", "HUBBUB_PORT: -1 is less than 0"),
        ("HUBBUB_RATE_LIMIT", "fast", "HUBBUB_RATE_LIMIT: 'fast' is not a number"),
        ("HUBBUB_RATE_LIMIT", "nan", "HUBBUB_RATE_LIMIT: 'nan' is not a number"),
        ("HUBBUB_HEARTBEAT_SECONDS", "inf", "HUBBUB_HEARTBEAT_SECONDS: 'inf' is not a number"),
        ("HUBBUB_DEFLATE", "maybe", "HUBBUB_DEFLATE: 'maybe' is not true or false"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_variable(variable: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(environ={variable: text})
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[server]\nport = true\n", "server.port: True is not a whole number"),
        ("[server]\nport = 80.0\n", "server.port: 80.0 is not a whole number"),
        ("[server]\nhost = 5\n", "server.host: 5 is not a text"),
        ("[limits]\nrate_burst = 0\n", "limits.rate_burst: 0 is less than 1"),
        ("[limits]\nrate = 5\n", "there is no setting limits.rate"),
        ("[limit]\nrate_limit = 5\n", "there is no setting limit.rate_limit"),
        ("port = 80\n", "port stands outside of a table such as [server]"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load(environ=NOTHING, file=file)
    assert str(caught.value) == f"{file}: {message}"


def test_a_value_that_is_overridden_is_not_looked_at(tmp_path: Path) -> None:
    file = write(tmp_path, "[server]\nport = -5\n")
    assert load({"port": 1}, NOTHING, file).server.port == 1


def test_an_options_mistake_names_the_option() -> None:
    with pytest.raises(ConfigError, match=r"^--max-message-bytes: 0 is less than 1$"):
        load({"max_message_bytes": 0}, NOTHING)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.toml: No such file"):
        load(environ=NOTHING, file=tmp_path / "missing.toml")


@pytest.mark.parametrize("content", [b"port: 80", b"\xff\xfe"])
def test_a_file_that_is_not_toml_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "hubbub.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"hubbub\.toml: not TOML: "):
        load(environ=NOTHING, file=file)


# The settings themselves


def test_every_setting_has_a_name_of_its_own() -> None:
    names = [setting.name for setting in settings()]
    assert len(set(names)) == len(names)


def test_every_setting_explains_itself() -> None:
    assert [setting.name for setting in settings() if len(setting.help) < 10] == []


def test_every_default_can_be_given() -> None:
    assert load({setting.name: setting.default for setting in settings()}, NOTHING) == Config()


def test_a_setting_has_a_variable_and_an_option() -> None:
    rate = setting("rate_limit")
    assert (rate.group, rate.variable, rate.option, rate.type) == (
        "limits",
        "HUBBUB_RATE_LIMIT",
        "--rate-limit",
        float,
    )


def test_settings_that_differ_are_told_apart_from_those_that_do_not() -> None:
    old, new = load({"rate_limit": 3.0, "port": 1}, {}), load({"rate_limit": 4.0, "port": 1}, {})
    assert [setting.name for setting in differences(old, new)] == ["rate_limit"]
    assert differences(new, new) == []
