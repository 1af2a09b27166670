"""The short form of `make chaos`: whatever happens, no request is lost, and none is run twice."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.chaos.scenarios import SCENARIOS, Scenario
from benchmarks.chaos.target import Subject
from benchmarks.chaos.trial import SHORT, Trial
from tests.support.server import ROOT

KINDS = {
    "sync": ["-k", "sync"],
    "threads": ["-k", "threads", "--threads", "4"],
    "gevent": ["-k", "gevent"],
    "preload": ["--preload"],
}


def subject(kind: str) -> Subject:
    def argv(port: int, workers: int) -> list[str]:
        bind = f"127.0.0.1:{port}"
        program = [sys.executable, "-m", "prefork", "deployed:app"]
        return [*program, "-b", bind, "-w", str(workers), *KINDS[kind]]

    # In place of the directory with the app, which is the current one as well. Without a control
    # socket: tests of preforkctl that run beside it would find several masters.
    environ = {"PYTHONPATH": str(ROOT), "PREFORK_CONTROL_SOCKET": "off"}
    return Subject(kind, kind, argv, environ, ours=True)


# The long ones, with these only: `make chaos` tries them with all.
LONG = {"many_reloads": ("sync", "preload"), "broken_deploys": ("gevent", "preload")}
PAIRS = [
    (scenario, kind)
    for scenario in SCENARIOS
    for kind in KINDS
    if kind in LONG.get(scenario.play.__name__, KINDS)
]


@pytest.mark.parametrize(
    ("scenario", "kind"), PAIRS, ids=[f"{each.play.__name__}-{kind}" for each, kind in PAIRS]
)
def test_no_request_is_lost_but_those_that_killed_workers_were_executing(
    scenario: Scenario, kind: str, tmp_path: Path
) -> None:
    trial = Trial(subject(kind), tmp_path / "target", SHORT)
    try:
        scenario.play(trial)
        assert trial.outcome.requests > 0
        assert trial.outcome.spotless, trial.outcome
    finally:
        print((tmp_path / "target" / "log").read_text())
