"""How a record of the error log looks: as text, as JSON, and for the journal.

Who writes it is said as in `worker=2 gen=3 pid=4711`, or `master pid=4711`.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping

# The severities of syslog(3), which sd-daemon(3) has as well.
CRITICAL, ERROR, WARNING, INFO, DEBUG = 2, 3, 4, 6, 7
# From the most severe on.
_SEVERITIES = (
    (logging.CRITICAL, CRITICAL),
    (logging.ERROR, ERROR),
    (logging.WARNING, WARNING),
    (logging.INFO, INFO),
)


class Text(logging.Formatter):
    """`2026-01-31T23:59:59.123+0000 INFO master pid=4711: listening on ...`"""

    def __init__(self, who: str) -> None:
        shown = who.replace("%", "%%")
        super().__init__(f"%(asctime)s %(levelname)s {shown}: %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        return _stamp(record)


class Json(logging.Formatter):
    """An object on one line, all of it ASCII: whatever a client has sent is escaped."""

    def __init__(self, who: str) -> None:
        super().__init__()
        self._who = _members(who)

    def format(self, record: logging.LogRecord) -> str:
        """The object; `traceback` and `request_id` are there if the record has them."""
        told: dict[str, object] = {
            "time": _stamp(record),
            "level": record.levelname.lower(),
            **self._who,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            told["traceback"] = self.formatException(record.exc_info)
        request = _request_id(record)
        if request:
            told["request_id"] = request
        return json.dumps(told)


FORMATS: dict[str, Callable[[str], logging.Formatter]] = {"text": Text, "json": Json}


class ForJournal(logging.Formatter):
    """What another formatter gives, with the priority before each line: the journal takes every
    line for an entry of its own."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        """The lines of the record, such as `<6>2026-01-31T...`."""
        priority = severity(record.levelno)
        return "\n".join(f"<{priority}>{line}" for line in self._inner.format(record).split("\n"))


def severity(levelno: int) -> int:
    """What a level of the standard library's logging is called by syslog(3)."""
    return next((to for level, to in _SEVERITIES if levelno >= level), DEBUG)


def goes_to_journal(fd: int, environ: Mapping[str, str]) -> bool:
    """Whether an fd is the journal's: $JOURNAL_STREAM in systemd.exec(5)."""
    status = os.fstat(fd)
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _members(who: str) -> dict[str, object]:
    """Who writes; words that have no value are what kind of process it is."""
    kind = " ".join(word for word in who.split() if "=" not in word)
    members: dict[str, object] = {"process": kind} if kind else {}
    for key, _, value in (word.partition("=") for word in who.split() if "=" in word):
        members[key] = int(value) if value.isdecimal() else value
    return members


def _request_id(record: logging.LogRecord) -> str:
    """Of the request that the record is about: that is an argument of it."""
    arguments = record.args if isinstance(record.args, tuple) else ()
    return next((found for each in arguments if (found := getattr(each, "request_id", ""))), "")


def _stamp(record: logging.LogRecord) -> str:
    local = time.localtime(record.created)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", local)
    return f"{stamp}.{int(record.msecs):03d}{time.strftime('%z', local)}"
