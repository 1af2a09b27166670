"""How records look: as JSON, and for the journal. (As text: test_log.py.)"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from prefork.logformat import ForJournal, Json, Text, goes_to_journal


def record(message: str, *args: object, level: int = logging.INFO, raised: bool = False) -> Any:
    """A record, with what is being handled if it was `raised`."""
    info = sys.exc_info() if raised else None
    return logging.LogRecord("prefork.app", level, __file__, 1, message, args, info)


class About:
    """What a record may be about."""

    request_id = "abc"

    def __str__(self) -> str:
        return "GET /"


def test_a_record_is_an_object_on_one_line() -> None:
    line = Json("worker=2 gen=3 pid=4711").format(record('a\n"%s"\x9b', "b\u2028"))
    assert line.isascii()
    assert line.isprintable()
    told = json.loads(line)
    assert told.pop("time")[10] == "T"
    assert told == {
        "level": "info",
        "worker": 2,
        "gen": 3,
        "pid": 4711,
        "logger": "prefork.app",
        "message": 'a\n"b\u2028"\x9b',
    }


def test_a_process_that_is_no_worker_is_named() -> None:
    told = json.loads(Json("master pid=4711").format(record("hello")))
    assert (told["process"], told["pid"]) == ("master", 4711)
    assert json.loads(Json("hook on_exit pid=1").format(record("")))["process"] == "hook on_exit"
    assert json.loads(Json("mold gen=1 pid=?").format(record("hello")))["pid"] == "?"


def test_a_traceback_and_the_id_of_the_request_are_members() -> None:
    try:
        raise ValueError("no")
    except ValueError:
        line = Json("master pid=1").format(record("%s: raised", About(), raised=True))
    told = json.loads(line)
    assert told["message"] == "GET /: raised"
    assert told["request_id"] == "abc"
    assert told["traceback"].splitlines()[-1] == "ValueError: no"


@pytest.mark.parametrize(
    ("level", "priority"),
    [("CRITICAL", 2), ("ERROR", 3), ("WARNING", 4), ("INFO", 6), ("DEBUG", 7)],
)
def test_each_line_for_the_journal_has_the_priority(level: str, priority: int) -> None:
    text = ForJournal(Text("master pid=1")).format(
        record("one\ntwo", level=getattr(logging, level))
    )
    first, second = text.split("\n")
    assert first.startswith(f"<{priority}>2")
    assert first.endswith(f" {level} master pid=1: one")
    assert second == f"<{priority}>two"


def test_the_journal_is_known_by_device_and_inode(tmp_path: Path) -> None:
    with open(tmp_path / "log", "w") as file:
        status = os.fstat(file.fileno())
        stream = f"{status.st_dev}:{status.st_ino}"
        assert goes_to_journal(file.fileno(), {"JOURNAL_STREAM": stream})
        assert not goes_to_journal(file.fileno(), {"JOURNAL_STREAM": stream + "0"})
        assert not goes_to_journal(file.fileno(), {})
