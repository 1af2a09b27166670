"""Completion, in real shells."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from prefork.completion import script
from prefork.settings import TABLE


def offered(command: str, current: str, before: str) -> list[str]:
    """What bash offers for a word, where another stands before it."""
    program = (
        f'{script("bash")}\n_{command} {command} "$1" "$2"; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", program, "bash", current, before],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("command", "current", "before", "offer"),
    [
        ("prefork", "--worker-cl", "prefork", ["--worker-class"]),
        ("prefork", "", "-k", ["sync", "threads", "gevent"]),
        ("prefork", "th", "--worker-class", ["threads"]),
        ("prefork", "", "--config", []),
        ("prefork", "--no-reload", "--reload", ["--no-reload"]),
        ("prefork", "", "prefork", []),
        ("preforkctl", "stat", "preforkctl", ["status"]),
        ("preforkctl", "--wa", "reload", ["--wait"]),
    ],
)
def test_bash_offers_what_may_follow(
    command: str, current: str, before: str, offer: list[str]
) -> None:
    assert offered(command, current, before) == offer


def test_every_setting_is_offered() -> None:
    flags = offered("prefork", "-", "prefork")
    assert {flag for row in TABLE.values() if row.name != "app" for flag in row.flags} <= {*flags}


@pytest.mark.skipif(not shutil.which("zsh"), reason="needs zsh")
def test_zsh_takes_it() -> None:
    program = f"autoload -U compinit && compinit -u -D\n{script('zsh')}\nwhence -w _prefork"
    done = subprocess.run(["zsh", "-f", "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("_prefork: function\n", "")


@pytest.mark.skipif(not shutil.which("fish"), reason="needs fish")
@pytest.mark.parametrize(
    ("line", "offer"),
    [
        ("prefork --worker-class th", ["threads"]),
        ("prefork -k ge", ["gevent"]),
        ("preforkctl stat", ["status"]),
    ],
)
def test_fish_offers_what_may_follow(line: str, offer: list[str]) -> None:
    program = f"{script('fish')}\ncomplete -C '{line}'"
    done = subprocess.run(["fish", "-N", "-c", program], capture_output=True, text=True)
    assert (done.stdout.split(), done.stderr) == (offer, "")
