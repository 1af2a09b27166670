"""The man page, the sample configuration and the Procfile say what the code does.

The Procfile's command is run as a platform would: by a shell, in a directory that has conf/, with
PORT and WEB_CONCURRENCY, and stopped by a SIGTERM to every process of it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from prefork import __version__, config, reference
from prefork.ctl import main as ctl
from prefork.ctl.failure import EXIT_STATUS as CTL_EXIT_STATUS
from prefork.ctl.failure import CtlError
from prefork.errors import PreforkError, UsageError
from prefork.settings import TABLE, Settings
from prefork.signals import COMMANDS
from tests.support.clients import Client
from tests.support.server import PATIENCE, ROOT, eventually

SETTINGS = pytest.mark.parametrize("name", TABLE)


def load(path: Path) -> Settings:
    arguments = config.parser().parse_args(["-c", str(path)])
    return config.load(arguments, environ={}).settings


def default(name: str) -> object:
    """What the sample shows for a setting: its default, unless that can't be written in TOML."""
    shown = TABLE[name].default
    return int(reference.INSTEAD_OF_NONE[name], 8) if shown is None else shown


def plain_man_page() -> str:
    """The man page without fonts and escapes, its white space made single blanks."""
    text = re.sub(r"\\f[BIR]", "", reference.man_page())
    for escape, character in [(r"\-", "-"), (r"\(aq", "'"), (r"\(dq", '"'), (r"\e", "\\")]:
        text = text.replace(escape, character)
    return " ".join(text.split())


@pytest.mark.parametrize(
    ("text", "path"),
    [("man", "man/prefork.1"), ("ctl", "man/preforkctl.1"), ("conf", "conf/prefork.toml")],
)
def test_the_committed_file_is_what_the_code_makes(text: str, path: str) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "prefork.reference", text],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert (ROOT / path).read_text() == made, f"{path} is out of date: run `make docs`"


# The sample configuration.


def test_the_sample_as_it_is_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "conf.toml").write_text(reference.sample())
    assert load(tmp_path / "conf.toml") == Settings()


def test_the_sample_with_every_line_uncommented_sets_everything_to_its_default(
    tmp_path: Path,
) -> None:
    uncommented, count = re.subn(r"(?m)^#(?=\w)", "", reference.sample())
    (tmp_path / "conf.toml").write_text(uncommented)
    assert count == len(TABLE)
    loaded = load(tmp_path / "conf.toml")
    assert {name: getattr(loaded, name) for name in TABLE} == {
        name: default(name) for name in TABLE
    }


@SETTINGS
def test_the_sample_with_one_line_uncommented_is_valid(name: str, tmp_path: Path) -> None:
    uncommented, count = re.subn(rf"(?m)^#(?={name} = )", "", reference.sample())
    (tmp_path / "conf.toml").write_text(uncommented)
    assert count == 1
    assert getattr(load(tmp_path / "conf.toml"), name) == default(name)


def test_no_line_of_the_sample_is_too_long_to_read() -> None:
    assert max(map(len, reference.sample().splitlines())) <= 100


# The man page.


@SETTINGS
def test_the_man_page_has_all_that_the_table_says_of_a_setting(name: str) -> None:
    row, page = TABLE[name], plain_man_page()
    assert " ".join(row.option.help.split()) in page
    assert f"variable {row.variable}." in page
    assert f"Key {name}" in page
    assert name == "app" or all(flag in page for flag in row.flags)


def test_the_man_page_has_every_flag_of_the_command_line() -> None:
    """But not those of gunicorn's that only say what becomes of them."""
    page = plain_man_page()
    shown = [each for each in config.parser()._actions if each.help != argparse.SUPPRESS]
    flags = {flag for action in shown for flag in action.option_strings}
    assert {flag for flag in flags if not re.search(rf"(?<![\w-]){flag}(?![\w-])", page)} == set()


@pytest.mark.parametrize("number", COMMANDS, ids=lambda number: number.name)
def test_the_man_page_says_what_a_signal_does(number: signal.Signals) -> None:
    section = plain_man_page().partition(".SH SIGNALS")[2].partition(".SH")[0]
    items = [item for item in section.split(".TP") if re.search(rf"\b{number.name}\b", item)]
    # Its first letter is a capital there.
    assert COMMANDS[number].value[1:] in items[0]


def test_the_man_page_explains_every_exit_status() -> None:
    codes = {0, PreforkError.exit_code}
    codes |= {error.exit_code for error in PreforkError.__subclasses__() if error is not CtlError}
    assert set(reference.EXIT_STATUS) == codes


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed")
@pytest.mark.parametrize("page", [reference.man_page(), reference.ctl_man_page()], ids=["1", "ctl"])
def test_the_man_page_is_clean_but_for_a_missing_date(page: str) -> None:
    """It has the version instead, as the same code is to make the same page on any day."""
    found = subprocess.run(["mandoc", "-T", "lint"], input=page, capture_output=True, text=True)
    assert [line for line in found.stdout.splitlines() if "missing date" not in line] == []
    assert f"prefork {__version__}" in page


def test_the_page_of_preforkctl_has_each_command_option_and_exit_status() -> None:
    page = reference.ctl_man_page().replace(r"\-", "-")
    for command in ctl.COMMANDS:
        assert f"\\fB{command}\\fR" in page
    for option in ("--wait", "--quick", "--socket", "--pidfile", "--pid", "--json", "--timeout"):
        assert f"\\fB{option}\\fR" in page
    codes = {error.exit_code for error in all_errors(CtlError)} | {0, UsageError.exit_code}
    assert set(CTL_EXIT_STATUS) == codes
    assert all(f"\\fB{code}\\fR" in page for code in codes)


def all_errors(kind: type[PreforkError]) -> set[type[PreforkError]]:
    return {kind}.union(*(all_errors(each) for each in kind.__subclasses__()))


# The Procfile.


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """The Procfile's web process with the demo app in place of the user's, and its log."""
    kind, _, command = (ROOT / "conf/Procfile").read_text().strip().partition(": ")
    assert kind == "web" and "myapp:app" in command
    log = tmp_path / "log"
    with open(log, "wb") as file:
        process = subprocess.Popen(
            ["sh", "-c", "exec " + command.replace("myapp:app", "prefork.demo:app")],
            cwd=ROOT,
            env={
                **os.environ,
                "PATH": f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}",
                "PORT": "0",
                "WEB_CONCURRENCY": "2",
            },
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    yield process, log
    print(log.read_text())
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)


def test_the_procfile_runs_on_the_platforms_port_with_its_number_of_workers(
    platform: tuple[subprocess.Popen[bytes], Path],
) -> None:
    process, log = platform
    eventually(lambda: "started: 2 serving" in log.read_text(), "two workers")
    listening = re.search(r"listening on http://0\.0\.0\.0:(\d+)", log.read_text())
    assert listening is not None
    clients = [Client(int(listening[1]), PATIENCE) for _ in range(2)]
    assert sorted(json.loads(client.ask("/status").text)["slot"] for client in clients) == [1, 2]
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
