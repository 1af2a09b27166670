"""The sample files of conf/ name nothing that there isn't."""

from __future__ import annotations

import re
import shlex

import pytest

from prefork import config
from prefork.settings import TABLE
from tests.support.server import ROOT

SAMPLES = sorted(path.name for path in (ROOT / "conf").iterdir() if path.suffix != ".json")


def text(name: str) -> str:
    return (ROOT / "conf" / name).read_text()


@pytest.mark.parametrize("name", SAMPLES)
def test_a_setting_that_a_sample_names_exists(name: str) -> None:
    comments = " ".join(re.findall("#(.*)", text(name)))
    named = set(re.findall(r"\b(?<![-.])[a-z]+(?:_[a-z]+)+\b", comments))
    named |= {each.lower() for each in re.findall("PREFORK_([A-Z_]+)", text(name))}
    assert named or name in ("Procfile", "prefork.socket")
    assert named <= set(TABLE)


def test_the_command_of_the_unit_is_one() -> None:
    joined = text("prefork.service").replace("\\\n", "")
    (command,) = re.findall("^ExecStart=(.*)$", joined, re.MULTILINE)
    executable, *arguments = shlex.split(command)
    assert executable.endswith("/prefork")
    assert config.load(config.parse(arguments, {}), {}).settings.app == "mysite:app"


def number(pattern: str, name: str) -> float:
    """The number behind these words in a sample; where it stands twice it is the same."""
    (found,) = set(re.findall(rf"{pattern}(\d+)", text(name)))
    return float(found)


def test_a_host_goes_on_until_the_proxy_has_found_out() -> None:
    look = number("inter ", "haproxy.cfg") + number("timeout check ", "haproxy.cfg")
    assert number("drain_delay = ", "haproxy.cfg") > look * number("fall ", "haproxy.cfg")


def test_nginx_does_not_try_a_host_again_before_it_is_gone() -> None:
    assert number("fail_timeout=", "nginx.conf") > number("drain_delay = ", "nginx.conf")
