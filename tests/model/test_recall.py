"""Recall as a model, checked by spin: all that can happen, in every order, within the bounds."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

MODEL = Path(__file__).with_name("recall.pml")
# Of a search: MiB of memory, and steps that a run may have. The largest one below takes 0.6 GiB for
# 4.5 million states; no run is longer than 400 steps.
MEMORY, STEPS = 1500, 10000

missing = [tool for tool in ("spin", "gcc") if shutil.which(tool) is None]
pytestmark = pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def errors(directory: Path, *flags: str) -> int:
    """Search the model, with these flags, for what must not happen: up to one error."""

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("spin", *[f"-D{flag}" for flag in flags], "-a", str(MODEL))
    run("gcc", "-O1", "-w", "-DSAFETY", "-DCOLLAPSE", f"-DMEMLIM={MEMORY}", "-o", "pan", "pan.c")
    found = run("./pan", f"-m{STEPS}")
    print(found)
    assert "depth too small" not in found
    number = int(re.findall(r"errors: (\d+)", found)[0])
    assert number or "Search not completed" not in found
    return number


@pytest.mark.parametrize(
    "bounds",
    [
        (),  # those of the model: a death, and two recalls, of two workers and two connections
        ("DEATHS=2", "PARTINGS=0"),
        ("MASTER_DIES",),
    ],
    ids=["one death", "two deaths", "the master dies"],
)
def test_no_connection_is_read_by_two_or_forgotten_and_nobody_waits_for_ever(
    tmp_path: Path, bounds: tuple[str, ...]
) -> None:
    assert errors(tmp_path, *bounds) == 0


@pytest.mark.parametrize(
    "mutant",
    [
        "NO_GATE",  # the master takes loans back without it
        "REUSE_AT_ONCE",  # an id is lent again before the worker has released it
        "LATE_OBEDIENCE",  # back from the app, the worker goes on with its loop first
        "BLIND_RECEIPT",  # a loan is served though it was recalled on its way
        "NO_WORD",  # what was recalled is dropped, but not reported
        "NO_MARK",  # what the worker ends or returns looks idle until it is reported
        "BUSY_AFTER_READ",  # a request that was read is on the board too late
        "FORGETFUL_BURIAL",  # what a dead worker had not read is not kept
    ],
)
def test_a_protocol_without_one_of_its_rules_fails(tmp_path: Path, mutant: str) -> None:
    assert errors(tmp_path, mutant) == 1


def test_a_worker_that_waits_for_a_dead_master_to_let_go_of_the_gate_waits_for_ever(
    tmp_path: Path,
) -> None:
    assert errors(tmp_path, "MASTER_DIES", "WAITS_FOR_THE_DEAD") == 1
