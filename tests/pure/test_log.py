"""Log files: lines whole, in order, and never waited for by the master."""

from __future__ import annotations

import fcntl
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from prefork import log
from prefork.accesslog import compile_line
from prefork.errors import UsageError
from prefork.log import LogFile, Logs


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe with room for one page, of which nobody reads."""
    read, write = os.pipe2(os.O_CLOEXEC)
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    yield read, write
    os.close(read)
    os.close(write)


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[Logs]:
    """Logs in files; what the standard library's logging was told is undone afterwards."""
    logger = logging.getLogger("prefork")
    before = logger.level, logger.propagate
    started = log.start(str(tmp_path / "error.log"), str(tmp_path / "access.log"), "info")
    yield started
    logger.removeHandler(started.error)
    logger.setLevel(before[0])
    logger.propagate = before[1]
    assert started.access is not None
    os.close(started.access.fd)
    os.close(started.error.file.fd)


def drained(fd: int) -> str:
    os.set_blocking(fd, False)
    parts = []
    while True:
        try:
            parts.append(os.read(fd, 65536))
        except BlockingIOError:
            return b"".join(parts).decode()


# Files.


def test_lines_are_appended_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("what was there\n")
    file = LogFile(str(path), 2)
    file.write("first")
    file.write("second")
    assert path.read_text() == "what was there\nfirst\nsecond\n"
    os.close(file.fd)


def test_a_dash_stands_for_the_standard_fd(pipe: tuple[int, int]) -> None:
    read, write = pipe
    file = LogFile("-", write)
    file.write("line")
    assert file.fd == write
    assert drained(read) == "line\n"


def test_a_new_log_file_is_not_for_everybody_to_read(tmp_path: Path) -> None:
    file = LogFile(str(tmp_path / "log"), 2)
    os.close(file.fd)
    assert (tmp_path / "log").stat().st_mode & 0o007 == 0


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("{}/absent/log", "No such file or directory"),
        ("{}", "Is a directory"),
        ("{}/file/log", "Not a directory"),
        ("{}/a\0b", r"\w"),
    ],
)
def test_a_file_that_cannot_be_opened_is_refused_in_words(
    tmp_path: Path, path: str, why: str
) -> None:
    (tmp_path / "file").touch()
    path = path.format(tmp_path)
    with pytest.raises(UsageError, match=rf"(?s)^log file {re.escape(path)}: {why}"):
        LogFile(path, 2)


def test_a_rotated_file_is_opened_anew_under_the_same_fd(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = LogFile(str(path), 2)
    file.write("old")
    number = file.fd
    path.rename(tmp_path / "log.1")
    file.write("late")
    file.reopen()
    file.write("new")
    assert file.fd == number
    assert not os.get_inheritable(file.fd)
    assert (tmp_path / "log.1").read_text() == "old\nlate\n"
    assert path.read_text() == "new\n"
    os.close(file.fd)


def test_a_file_is_found_again_from_another_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = LogFile("log", 2)
    monkeypatch.chdir("/")
    (tmp_path / "log").rename(tmp_path / "log.1")
    file.reopen()
    assert (tmp_path / "log").exists()
    os.close(file.fd)


def test_a_file_that_cannot_be_opened_again_stays_in_use(tmp_path: Path) -> None:
    directory = tmp_path / "logs"
    directory.mkdir()
    file = LogFile(str(directory / "log"), 2)
    directory.rename(tmp_path / "moved")
    with pytest.raises(OSError, match="No such file"):
        file.reopen()
    file.write("still here")
    assert (tmp_path / "moved/log").read_text() == "still here\n"
    os.close(file.fd)


def test_text_that_is_not_unicode_is_escaped(tmp_path: Path) -> None:
    file = LogFile(str(tmp_path / "log"), 2)
    file.write("caf\u00e9 \udcff")
    assert (tmp_path / "log").read_text("utf-8") == "caf\u00e9 \\udcff\n"
    os.close(file.fd)


# What can't be written.


def test_a_line_for_which_there_is_no_room_is_dropped_and_counted(pipe: tuple[int, int]) -> None:
    read, write = pipe
    file = LogFile("-", write)
    line = "x" * 1000
    for _ in range(10):
        file.write(line)
    lost = file.lost
    assert lost >= 6
    kept = drained(read)
    assert kept.splitlines() == [line] * (10 - lost)
    file.write("after")
    assert drained(read) == f"({lost} lines before this one were lost)\nafter\n"
    assert file.lost == 0


def test_a_line_that_is_cut_does_not_run_into_the_next_one(pipe: tuple[int, int]) -> None:
    read, write = pipe
    file = LogFile("-", write)
    file.write("x" * 6000)
    assert file.lost == 1
    drained(read)
    file.write("after")
    assert drained(read).splitlines() == ["", "(1 lines before this one were lost)", "after"]


@pytest.mark.parametrize("patient", [False, True])
def test_a_full_disk_costs_lines_and_nothing_else(patient: bool) -> None:
    file = LogFile("/dev/full", 2)
    file.patient = patient
    file.write("one")
    file.write("two")
    assert file.lost == 2
    os.close(file.fd)


@pytest.mark.parametrize("patient", [False, True])
def test_a_pipe_whose_reader_is_gone_costs_lines_and_nothing_else(patient: bool) -> None:
    read, write = os.pipe()
    os.close(read)
    file = LogFile("-", write)
    file.patient = patient
    file.write("one")
    assert file.lost == 1
    os.close(write)


def test_a_line_longer_than_a_pipe_takes_at_once_arrives_whole() -> None:
    read, write = os.pipe()
    file = LogFile("-", write)
    line = "y" * 50_000  # a traceback may well be
    file.write(line)
    assert file.lost == 0
    assert drained(read) == line + "\n"
    os.close(read)
    os.close(write)


# Lines.


def test_a_line_says_when_how_bad_and_who(logs: Logs, tmp_path: Path) -> None:
    logs.introduce("master pid=4711", "text")
    logging.getLogger("prefork.master").warning("100 %s", "%")
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d{4} WARNING master pid=4711: 100 %\n",
        (tmp_path / "error.log").read_text(),
    )


def test_a_name_with_a_percent_sign_is_shown_as_it_is(logs: Logs, tmp_path: Path) -> None:
    logs.introduce("100%s", "text")
    logging.getLogger("prefork.master").info("hello")
    assert " INFO 100%s: hello\n" in (tmp_path / "error.log").read_text()


def test_what_is_less_severe_than_the_level_is_left_out(logs: Logs, tmp_path: Path) -> None:
    logger = logging.getLogger("prefork.worker")
    logger.debug("one")
    log.set_level("error")
    logger.warning("two")
    log.set_level("debug")
    logger.debug("three")
    lines = (tmp_path / "error.log").read_text().splitlines()
    assert [line.rpartition(" ")[2] for line in lines] == ["three"]


def test_what_the_app_logs_stays_its_own_affair(logs: Logs, tmp_path: Path) -> None:
    logging.getLogger("myapp").error("of the app")
    assert (tmp_path / "error.log").read_text() == ""


def test_the_apps_error_stream_writes_lines_at_once_and_outlives_its_reader(
    logs: Logs, tmp_path: Path
) -> None:
    stream = logs.stream()
    stream.write("caf\u00e9 \udcff\n")
    assert (tmp_path / "error.log").read_text("utf-8") == "caf\u00e9 \\udcff\n"
    stream.close()
    logging.getLogger("prefork").error("still open")
    assert "still open" in (tmp_path / "error.log").read_text()


# The access log's format.


@pytest.mark.parametrize(
    ("format", "shown"),
    [
        ("%(zz)s", "%(zz)s"),
        ("%(h)d", "%(h)d"),
        ("%(x)s", "%(x)s"),
        ("%({Host}z)s", "%({Host}z)s"),
        ("%h", "%h"),
        ("100%", "%"),
    ],
)
def test_an_unknown_atom_is_refused_and_shown_as_it_was_written(format: str, shown: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"access_log_format: there is no '{shown}'")):
        compile_line(format)
