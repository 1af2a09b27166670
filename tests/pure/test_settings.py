"""The settings table: each row is whole, and spelled as users of gunicorn expect."""

from __future__ import annotations

import argparse
import re
from collections import Counter
from typing import Any

import msgspec
import pytest

from prefork import config
from prefork.settings import (
    MOST_WORKERS,
    TABLE,
    Group,
    Setting,
    Settings,
    idle_timeout,
    worker_count,
)
from prefork.wire.board import ROWS

rows = pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)


def settings_from(*arguments: str) -> Settings:
    return config.load(config.parse(arguments, {}), {}).settings


def test_every_field_of_the_settings_is_a_row() -> None:
    assert list(TABLE) == list(Settings.__struct_fields__)


@rows
def test_the_help_of_a_setting_is_sentences(row: Setting) -> None:
    assert re.match(r"[A-Z]", row.option.help)
    assert row.option.help.endswith(".")


@rows
def test_the_default_of_a_setting_is_valid(row: Setting) -> None:
    assert msgspec.convert(row.default, row.type) == row.default


@rows
def test_the_names_of_a_setting_follow_from_its_key(row: Setting) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", row.name)
    assert row.variable == f"PREFORK_{row.name.upper()}"
    assert all(re.fullmatch(r"-[a-z]|--[a-z]+([-_][a-z]+)*", flag) for flag in row.flags)
    assert row.flags[-1].startswith("--")


def test_no_flag_or_key_means_two_things() -> None:
    flags = Counter(flag for row in TABLE.values() for flag in row.flags)
    assert flags.most_common(1)[0][1] == 1
    keys = Counter([*TABLE, *(row.option.alias for row in TABLE.values() if row.option.alias)])
    assert keys.most_common(1)[0][1] == 1


def test_every_group_has_a_setting() -> None:
    assert {row.option.group for row in TABLE.values()} == set(Group)


def _subtitles(parser: argparse.ArgumentParser) -> list[str]:
    return re.findall(r"^([A-Z][A-Za-z ]+):$", parser.format_help(), re.M)


def test_help_lists_the_groups_in_the_order_of_the_table() -> None:
    titles = [group.value for group in Group]
    assert [title for title in _subtitles(config.parser()) if title in titles] == titles


@rows
def test_help_tells_of_every_flag(row: Setting) -> None:
    text = config.parser().format_help()
    if row.name != "app":
        assert all(re.search(rf"{re.escape(flag)}\b", text) for flag in row.flags)
    assert "".join(row.option.help.split()) in "".join(text.split())


# In most command lines the word gunicorn can be replaced by prefork.
GUNICORN: dict[str, tuple[list[str], dict[str, Any]]] = {
    "-w": (["-w", "4"], {"workers": 4}),
    "--workers": (["--workers", "4"], {"workers": 4}),
    "-w4": (["-w4"], {"workers": 4}),
    "-b": (["-b", ":80", "-b", "unix:s"], {"bind": [":80", "unix:s"]}),
    "--bind=": (["--bind=[::]:80"], {"bind": ["[::]:80"]}),
    "-k": (["-k", "sync"], {"worker_class": "sync"}),
    "--worker-class": (["--worker-class", "sync"], {"worker_class": "sync"}),
    "-e": (["-e", "A=1", "--env", "B=2"], {"env": {"A": "1", "B": "2"}}),
    "-u -g": (["-u", "www", "-g", "web"], {"user": "www", "group": "web"}),
    "--user --group": (["--user", "www", "--group", "web"], {"user": "www", "group": "web"}),
    "-m": (["-m", "007"], {"umask": 7}),
    "--umask": (["--umask", "007"], {"umask": 7}),
    "-p": (["-p", "/run/x.pid"], {"pidfile": "/run/x.pid"}),
    "--pid": (["--pid", "/run/x.pid"], {"pidfile": "/run/x.pid"}),
    "-n": (["-n", "shop"], {"proc_name": "shop"}),
    "--name": (["--name", "shop"], {"proc_name": "shop"}),
    "--keep-alive": (["--keep-alive", "5"], {"keepalive": 5}),
    "--graceful-timeout": (["--graceful-timeout", "5"], {"kill_timeout": 5}),
    "--worker-connections": (["--worker-connections", "5"], {"worker_connections": 5}),
    "--backlog": (["--backlog", "5"], {"backlog": 5}),
    "--chdir": (["--chdir", "/srv"], {"chdir": "/srv"}),
    "--pythonpath": (["--pythonpath", "a,b"], {"pythonpath": ["a", "b"]}),
    "--access-logfile": (["--access-logfile", "-"], {"access_log": "-"}),
    "--access-logformat": (["--access-logformat", "%(s)s"], {"access_log_format": "%(s)s"}),
    "--error-logfile": (["--error-logfile", "e"], {"error_log": "e"}),
    "--log-file": (["--log-file", "e"], {"error_log": "e"}),
    "--log-level": (["--log-level", "debug"], {"log_level": "debug"}),
    "--limit-request-line": (["--limit-request-line", "99"], {"limit_request_line": 99}),
    "--limit-request-fields": (["--limit-request-fields", "9"], {"limit_request_fields": 9}),
    "--limit-request-field_size": (
        ["--limit-request-field_size", "99"],
        {"limit_request_field_size": 99},
    ),
}


@pytest.mark.parametrize(("arguments", "expected"), GUNICORN.values(), ids=GUNICORN)
def test_flags_are_spelled_as_gunicorn_spells_them(
    arguments: list[str], expected: dict[str, Any]
) -> None:
    settings = settings_from("myapp:app", *arguments)
    assert settings.app == "myapp:app"
    assert {name: getattr(settings, name) for name in expected} == expected
    assert settings == msgspec.structs.replace(Settings(app="myapp:app"), **expected)


@pytest.mark.parametrize("position", range(3))
def test_the_app_may_stand_anywhere_on_the_command_line(position: int) -> None:
    arguments = ["--workers=2", "--backlog=9"]
    arguments.insert(position, "myapp:app")
    assert settings_from(*arguments).app == "myapp:app"


def test_a_flag_is_not_guessed_from_its_beginning(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        settings_from("--work", "2")
    assert raised.value.code == 2
    assert "--work" in capsys.readouterr().err


# What follows from them.


def test_the_number_of_workers_is_as_set_or_that_of_the_usable_cpus() -> None:
    assert worker_count(Settings(workers=3), lambda: 7) == 3
    assert worker_count(Settings(workers="auto"), lambda: 7) == 7


def test_automatic_workers_are_no_more_than_may_be_set() -> None:
    assert worker_count(Settings(workers="auto"), lambda: 10 * MOST_WORKERS) == MOST_WORKERS


def test_the_board_has_a_row_for_each_worker_and_its_replacement() -> None:
    assert ROWS > 2 * MOST_WORKERS


def test_without_keep_alive_a_connection_still_gets_time_for_its_request() -> None:
    assert idle_timeout(Settings(keepalive=5)) == 5
    assert idle_timeout(Settings(keepalive=0, header_timeout=7)) == 7
