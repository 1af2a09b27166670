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
from io import BufferedWriter, RawIOBase, TextIOWrapper

# By name, before gevent replaces them in a worker by some that wait for its hub.
from os import close as close_fd
from select import PIPE_BUF, POLLOUT, poll
from socket import MSG_DONTWAIT, socket
from typing import IO, TYPE_CHECKING

from prefork import syslog
from prefork.errors import UsageError
from prefork.logformat import ERROR, FORMATS, INFO, ForJournal, goes_to_journal, severity

if TYPE_CHECKING:
    from typing_extensions import Buffer

STANDARD = "-"
# How text becomes the bytes of a line: what is said may not be Unicode throughout.
ENCODING = ("utf-8", "backslashreplace")
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

    def write(self, line: str, severity: int = INFO) -> None:
        """Append a line, which has no newline yet. Without `patient` it never waits.

        Args:
            line: what is said.
            severity: as in syslog(3), for those to whom it means something.
        """
        self.append((line + "\n").encode(*ENCODING), severity)

    def append(self, data: bytes, severity: int = INFO) -> None:
        """Append a line that is encoded already, and has its newline."""
        if self.lost:
            start = "\n" if self._cut else ""
            data = f"{start}({self.lost} lines before this one were lost)\n".encode() + data
        # Where could it be said that a log can't be written? It is counted.
        try:
            written = self._put(data, severity)
        except OSError:
            written = False
        if not written:
            self.lost += 1
        elif self.lost:
            self.lost = 0

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

    def stream(self) -> IO[str]:
        """It as a text stream."""
        return open(self.fd, "w", buffering=1, closefd=False, errors="backslashreplace")

    def __str__(self) -> str:
        return self.path or STANDARD

    def _put(self, data: bytes, severity: int) -> bool:
        if not self.patient:
            return self._write_ready(data)
        while data:
            data = data[os.write(self.fd, data) :]
        return True

    def _write_ready(self, data: bytes) -> bool:
        while data:
            if not _writable(self.fd):
                return False
            # So much a pipe takes without waiting that poll(2) calls writable: pipe(7).
            data = data[os.write(self.fd, data[:PIPE_BUF]) :]
            self._cut = bool(data)
        return True

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        return os.open(self.path, flags, _SECRET_MODE)


class SyslogFile(LogFile):
    """A syslog daemon instead of a file: each line is a message of its own, with the severity.

    Args:
        text: the setting, which says where the daemon is.
        fd: a socket that another program has connected to it.
        setting: its name.

    Raises:
        UsageError: it says nothing of the kind, or there is no daemon.
    """

    def __init__(self, text: str, fd: int = -1, setting: str = "") -> None:
        self._daemon = syslog.parse(text, setting)
        super().__init__(STANDARD, fd)
        self.path = text
        if fd < 0:
            try:
                self.fd = self._open()
            except OSError as error:
                raise UsageError(f"{text}: {error.strerror}", setting) from None
        # A view of the fd, whose number stays the same.
        self._socket = socket(fileno=self.fd)

    @classmethod
    def inherited(cls, path: str, fd: int) -> LogFile:
        """One that another program has connected."""
        return cls(path, fd)

    def reopen(self) -> None:
        """Connect anew; not by UDP, which is connected to nobody, and would need a name looked up.

        Raises:
            OSError: there is nobody.
        """
        if self._daemon.path:
            super().reopen()

    def stream(self) -> IO[str]:
        """It as a text stream; what is written there are errors."""
        return TextIOWrapper(BufferedWriter(_Messages(self)), *ENCODING, line_buffering=True)

    def _put(self, data: bytes, severity: int) -> bool:
        lines = data.removesuffix(b"\n").split(b"\n")
        return all(self._send(self._daemon.message(line, severity)) for line in lines)

    def _send(self, message: bytes) -> bool:
        flags = 0 if self.patient else MSG_DONTWAIT
        try:
            self._socket.send(message, flags)
        except BlockingIOError:
            return False
        except OSError:
            # The daemon has begun anew; or the one before went to a port at which nobody was.
            self.reopen()
            self._socket.send(message, flags)
        return True

    def _open(self) -> int:
        return self._daemon.connected().detach()


class _Messages(RawIOBase):
    """Writes what it is given to syslog."""

    def __init__(self, file: SyslogFile) -> None:
        super().__init__()
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer) -> int:
        text = bytes(data)
        self._file.write(text.decode("utf-8", "replace").removesuffix("\n"), ERROR)
        return len(text)


def open_log(path: str, standard: int, setting: str) -> LogFile:
    """The log that a setting names: a file, a standard stream, or syslog.

    Args:
        path: the setting.
        standard: the fd that '-' stands for.
        setting: its name.

    Raises:
        UsageError: it can't be opened.
    """
    if syslog.is_syslog(path):
        return SyslogFile(path, setting=setting)
    return LogFile(path, standard, setting)


def inherited(path: str, fd: int) -> LogFile:
    """A log that another program has opened; `path` and `fd` are those of its `LogFile`."""
    kind = SyslogFile if syslog.is_syslog(path) else LogFile
    return kind.inherited(path, fd)


class ErrorLog(logging.Handler):
    """The handler of the standard library's logging that writes to a `LogFile`."""

    def __init__(self, file: LogFile) -> None:
        super().__init__()
        self.file = file

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record: a line, and more with a traceback."""
        try:
            self.file.write(self.format(record), severity(record.levelno))
        except Exception:  # noqa: BLE001  the contract of logging.Handler
            self.handleError(record)


@dataclass(frozen=True)
class Logs:
    """The logs of a process; `access` is None where there is none."""

    error: ErrorLog
    access: LogFile | None

    def introduce(self, who: str, format: str) -> None:
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
        return self.error.file.stream()


def start(error_log: str, access_log: str, level: str) -> Logs:
    """Open the logs, and have what prefork logs written to the error log. What the app logs by
    the standard library's logging stays the app's affair.

    Args:
        error_log, access_log, level: the settings.

    Raises:
        UsageError: a file can't be opened.
    """
    error = open_log(error_log, 2, "error_log")
    return use(error, open_log(access_log, 1, "access_log") if access_log else None, level)


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
