"""The man pages, the sample configuration and the Procfile say what the code does.

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
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from prefork import __date__, __version__, config
from prefork.ctl import main as ctl
from prefork.ctl.failure import EXIT_STATUS as CTL_EXIT_STATUS
from prefork.ctl.failure import CtlError
from prefork.errors import PreforkError, UsageError
from prefork.settings import TABLE, Settings
from prefork.signals import COMMANDS
from reference import __main__ as generator
from reference import ctl_page, prefork_page, sample, toml_page
from reference.files import FILES
from tests.support.clients import Client
from tests.support.server import PATIENCE, ROOT, eventually

SETTINGS = pytest.mark.parametrize("name", TABLE)


def load(path: Path) -> Settings:
    arguments = config.parser().parse_args(["-c", str(path)])
    return config.load(arguments, environ={}).settings


def default(name: str) -> object:
    """What the sample shows for a setting: its default, unless that can't be written in TOML."""
    shown = TABLE[name].default
    return int(sample.INSTEAD_OF_NONE[name], 8) if shown is None else shown


def plain(page: str) -> str:
    """A man page without fonts and escapes, its white space made single blanks."""
    text = re.sub(r"\\f[BIR]", "", page)
    for escape, character in [(r"\-", "-"), (r"\(aq", "'"), (r"\(dq", '"'), (r"\e", "\\")]:
        text = text.replace(escape, character)
    return " ".join(text.split())


def examples(page: str) -> list[str]:
    """What stands in a man page as an example."""
    found = re.findall(r"(?s)\.SH EXAMPLES\n(.*?)\n\.SH", page)
    blocks = re.findall(r"(?s)\.EX\n(.*?)\n\.EE", found[0])
    return [block.replace(r"\-", "-").replace(r"\(dq", '"') for block in blocks]


@pytest.mark.parametrize("path", FILES)
def test_the_committed_file_is_what_the_code_makes(path: str) -> None:
    assert (ROOT / path).read_text() == FILES[path](), f"{path} is out of date: run `make docs`"


def test_check_shows_what_is_out_of_date_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generator, "ROOT", tmp_path)
    assert generator.main([]) == 0
    assert generator.main(["--check"]) == 0
    with open(tmp_path / "man/prefork.1", "a") as page:
        page.write("Drifted.\n")
    assert generator.main(["--check"]) == 1
    assert "-Drifted.\n" in capsys.readouterr().out
    assert generator.main([]) == 0
    assert generator.main(["--check"]) == 0


# The sample configuration.


def test_the_sample_as_it_is_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "conf.toml").write_text(sample.text())
    assert load(tmp_path / "conf.toml") == Settings()


def test_the_sample_with_every_line_uncommented_sets_everything_to_its_default(
    tmp_path: Path,
) -> None:
    uncommented, count = re.subn(r"(?m)^#(?=\w)", "", sample.text())
    (tmp_path / "conf.toml").write_text(uncommented)
    assert count == len(TABLE)
    loaded = load(tmp_path / "conf.toml")
    assert {name: getattr(loaded, name) for name in TABLE} == {
        name: default(name) for name in TABLE
    }


@SETTINGS
def test_the_sample_with_one_line_uncommented_is_valid(name: str, tmp_path: Path) -> None:
    uncommented, count = re.subn(rf"(?m)^#(?={name} = )", "", sample.text())
    (tmp_path / "conf.toml").write_text(uncommented)
    assert count == 1
    assert getattr(load(tmp_path / "conf.toml"), name) == default(name)


def test_no_line_of_the_sample_is_too_long_to_read() -> None:
    assert max(map(len, sample.text().splitlines())) <= 100


# The man pages.


@SETTINGS
def test_prefork_toml_5_has_all_that_the_table_says_of_a_setting(name: str) -> None:
    row, page = TABLE[name], plain(toml_page.page())
    _, _, item = page.partition(f".TP {name} ")
    item, _, _ = item.partition(" .TP ")
    assert item.startswith(" ".join(row.option.help.split()))
    assert f"Variable: {row.variable}." in item
    assert name == "app" or f"Command line: {', '.join(row.flags)}." in item
    assert row.option.alias in item
    assert ("at a restart" in item) == row.option.fixed


def test_the_examples_of_prefork_toml_5_are_valid(tmp_path: Path) -> None:
    found = examples(toml_page.page())
    assert len(found) == 3
    for example in found:
        (tmp_path / "conf.toml").write_text(example)
        assert load(tmp_path / "conf.toml").app


def test_prefork_1_has_every_flag_of_the_command_line() -> None:
    """But not those of gunicorn's that only say what becomes of them."""
    page = plain(prefork_page.page())
    shown = [each for each in config.parser()._actions if each.help != argparse.SUPPRESS]
    flags = {flag for action in shown for flag in action.option_strings}
    assert {flag for flag in flags if not re.search(rf"(?<![\w-]){flag}(?![\w-])", page)} == set()


@pytest.mark.parametrize("number", COMMANDS, ids=lambda number: number.name)
def test_prefork_1_says_what_a_signal_does(number: signal.Signals) -> None:
    section = plain(prefork_page.page()).partition(".SH SIGNALS")[2].partition(".SH")[0]
    items = [item for item in section.split(".TP") if re.search(rf"\b{number.name}\b", item)]
    # Its first letter is a capital there.
    assert COMMANDS[number].value[1:] in items[0]


def test_prefork_1_explains_every_exit_status() -> None:
    codes = {0, PreforkError.exit_code}
    codes |= {error.exit_code for error in PreforkError.__subclasses__() if error is not CtlError}
    assert set(prefork_page.EXIT_STATUS) == codes


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed")
@pytest.mark.parametrize("path", [path for path in FILES if path.startswith("man/")])
def test_mandoc_finds_nothing_wrong_with_a_page(path: str) -> None:
    found = subprocess.run(["mandoc", "-T", "lint", ROOT / path], capture_output=True, text=True)
    assert (found.stdout, found.stderr, found.returncode) == ("", "", 0)


def test_each_page_says_which_version_it_is_of() -> None:
    for path in FILES:
        if path.startswith("man/"):
            assert f'{__date__} "prefork {__version__}"' in FILES[path]()


def test_the_page_of_preforkctl_has_each_command_option_and_exit_status() -> None:
    page = ctl_page.page().replace(r"\-", "-")
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
