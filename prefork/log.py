"""The error log and the access log: where lines go, and how they look.

A line is written by a single write(2) to a file opened for appending, so the lines of several
processes do not mix. A line that can't be written at once (a full disk, a pipe that nobody
reads) is counted and dropped by the master, which may never wait; the next line that can be
written is preceded by the count.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass

# By name, before gevent replaces them in a worker by some that wait for its hub.
from os import close as close_fd
from select import PIPE_BUF, POLLOUT, poll
from typing import IO

from prefork.errors import UsageError
from prefork.logformat import FORMATS, ForJournal, goes_to_journal

STANDARD = "-"
_SECRET_MODE = 0o640


class LogFile:
    """A file that log lines are appended to. `path` is absolute, and empty for a standard stream.

    Args:
        path: where it is; '-' for `standard`.
        standard: the fd that '-' stands for.
        setting: the setting that names the path.

    Raises:
        UsageError: it can't be opened.
    """

    def __init__(self, path: str, standard: int, setting: str = "") -> None:
        self.path = "" if path == STANDARD else os.path.abspath(path)
        self.patient = False
        self.lost = 0
        # Whether the last line was cut in the middle.
        self._cut = False
        try:
            self.fd = self._open() if self.path else standard
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise UsageError(f"log file {path}: {why}", setting) from None

    @classmethod
    def inherited(cls, path: str, fd: int) -> LogFile:
        """One that another program has opened; `path` and `fd` are those of its `LogFile`."""
        file = cls(STANDARD, fd)
        file.path = path
        return file

    def write(self, line: str) -> None:
        """Append a line, which has no newline yet. Without `patient` it never waits."""
        if self.lost:
            start = "\n" if self._cut else ""
            line = f"{start}({self.lost} lines before this one were lost)\n{line}"
        data = (line + "\n").encode("utf-8", "backslashreplace")
        # Where could it be said that a log can't be written? It is counted.
        try:
            written = self._write_all(data) if self.patient else self._write_ready(data)
        except OSError:
            written = False
        self.lost = 0 if written else self.lost + 1
        self._cut = False if written else self._cut

    def reopen(self) -> None:
        """Open the path anew, after a log rotation; the number of the fd stays the same.

        Raises:
            OSError: it can't be opened; the old file stays in use.
        """
        if self.path:
            self.adopt(self._open())

    def adopt(self, fd: int) -> None:
        """Go on with another open file, whose fd is closed; the number of ours stays the same."""
        os.dup2(fd, self.fd, inheritable=self.fd <= 2)
        close_fd(fd)

    def __str__(self) -> str:
        return self.path or STANDARD

    def _write_all(self, data: bytes) -> bool:
        while data:
            data = data[os.write(self.fd, data) :]
        return True

    def _write_ready(self, data: bytes) -> bool:
        while data:
            if not _writable(self.fd):
                return False
            # So much a pipe takes without waiting that poll(2) calls writable: pipe(7).
            data = data[os.write(self.fd, data[:PIPE_BUF]) :]
            self._cut = True
        return True

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        return os.open(self.path, flags, _SECRET_MODE)


class ErrorLog(logging.Handler):
    """The handler of the standard library's logging that writes to a `LogFile`."""

    def __init__(self, file: LogFile) -> None:
        super().__init__()
        self.file = file

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record: a line, and more with a traceback."""
        try:
            self.file.write(self.format(record))
        except Exception:  # noqa: BLE001  the contract of logging.Handler
            self.handleError(record)


@dataclass(frozen=True)
class Logs:
    """The logs of a process; `access` is None where there is none."""

    error: ErrorLog
    access: LogFile | None

    def introduce(self, who: str, format: str = "text") -> None:
        """Have each record of the error log say who wrote it, in the form of `log_format`."""
        formatter = FORMATS[format](who)
        file = self.error.file
        if not file.path and goes_to_journal(file.fd, os.environ):
            formatter = ForJournal(formatter)
        self.error.setFormatter(formatter)

    def patient(self, patient: bool) -> None:
        """Whether to wait for a log that can't be written at once, as the master may not."""
        self.error.file.patient = patient
        if self.access is not None:
            self.access.patient = patient

    def adopt(self, fds: list[int]) -> None:
        """Write to these files from now on, which another process has opened."""
        files = [self.error.file, self.access]
        for file, fd in zip(files, fds, strict=False):
            assert file is not None
            file.adopt(fd)

    def stream(self) -> IO[str]:
        """The error log as a text stream: what the app gets as `wsgi.errors`."""
        fd = self.error.file.fd
        return open(fd, "w", buffering=1, closefd=False, errors="backslashreplace")


def start(error_log: str, access_log: str, level: str) -> Logs:
    """Open the logs, and have what prefork logs written to the error log. What the app logs by
    the standard library's logging stays the app's affair.

    Args:
        error_log, access_log, level: the settings.

    Raises:
        UsageError: a file can't be opened.
    """
    error = LogFile(error_log, 2, "error_log")
    return use(error, LogFile(access_log, 1, "access_log") if access_log else None, level)


def use(error: LogFile, access: LogFile | None, level: str) -> Logs:
    """Have what prefork logs written to these files, from this severity on."""
    handler = ErrorLog(error)
    logger = logging.getLogger("prefork")
    logger.addHandler(handler)
    logger.propagate = False
    set_level(level)
    return Logs(handler, access)


def set_level(level: str) -> None:
    """Log what is at least this severe: the setting `log_level`."""
    logging.getLogger("prefork").setLevel(level.upper())


def _writable(fd: int) -> bool:
    poller = poll()
    poller.register(fd, POLLOUT)
    return any(event & POLLOUT for _, event in poller.poll(0))
