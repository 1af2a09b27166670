"""Syslog: where the daemon is, what it gets, and that nobody waits for it who may not."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from prefork import log, syslog
from prefork.errors import UsageError
from prefork.log import ErrorLog, LogFile
from prefork.syslog import Syslog, is_syslog, parse


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[socket.socket]:
    """A unix socket at which messages arrive."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "s"))
        sock.setblocking(False)
        yield sock


@pytest.fixture
def file(daemon: socket.socket) -> LogFile:
    return log.open_log(f"syslog+unix://{daemon.getsockname()}?tag=shop", 2, "error_log")


def arrived(daemon: socket.socket) -> list[str]:
    messages = []
    while True:
        try:
            messages.append(daemon.recv(1 << 17).decode())
        except BlockingIOError:
            return messages


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("syslog:", Syslog("/dev/log")),
        ("syslog:?facility=daemon", Syslog("/dev/log", facility=3)),
        ("syslog:?facility=local0&tag=my-shop", Syslog("/dev/log", facility=16, tag="my-shop")),
        ("syslog+unix:///run/x/log", Syslog("/run/x/log")),
        ("syslog+unix:///run/log?tag=a", Syslog("/run/log", tag="a")),
        ("syslog+udp://192.0.2.1", Syslog(host="192.0.2.1")),
        ("syslog+udp://logs.example:1514?tag=a", Syslog(host="logs.example", port=1514, tag="a")),
        ("syslog+udp://[::1]:1514", Syslog(host="::1", port=1514)),
    ],
)
def test_a_daemon_is_named(text: str, meant: Syslog) -> None:
    assert is_syslog(text)
    assert parse(text) == meant


@pytest.mark.parametrize(
    "text",
    [
        "syslog:/dev/log",
        "syslog+unix://dev/log",
        "syslog+udp://",
        "syslog+udp://host:",
        "syslog+udp://host:0",
        "syslog+udp://host:65536",
        "syslog+udp://host/path",
        "syslog+tcp://host",
        "syslog:?facility=none",
        "syslog:?tag=",
        "syslog:?tag=a b",
        "syslog:?color=red",
    ],
)
def test_what_is_no_daemon_is_refused(text: str) -> None:
    assert is_syslog(text)
    with pytest.raises(UsageError, match="expected syslog:"):
        parse(text, "error_log")


def test_a_file_may_be_called_syslog() -> None:
    assert not any(map(is_syslog, ("syslog", "./syslog:", "logs/syslog", "-", "")))


def test_a_daemon_that_is_not_there_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        log.open_log(f"syslog+unix://{tmp_path}/none", 2, "error_log")


def test_each_line_of_a_record_is_a_message_with_its_severity(
    file: LogFile, daemon: socket.socket
) -> None:
    record = logging.LogRecord("prefork", logging.ERROR, "", 1, "one\ntwo \xe9", (), None)
    ErrorLog(file).emit(record)
    head = rf"<11>[A-Z][a-z]{{2}} [ \d]\d \d\d:\d\d:\d\d shop\[{os.getpid()}\]: "
    one, two = arrived(daemon)
    assert re.fullmatch(head + "one", one)
    assert re.fullmatch(head + "two \xe9", two)


def test_a_line_that_is_too_long_for_a_message_is_cut(file: LogFile, daemon: socket.socket) -> None:
    file.write("x" * 100_000)
    (message,) = arrived(daemon)
    assert message.count("x") == 60_000


def test_what_an_app_writes_to_wsgi_errors_are_errors(file: LogFile, daemon: socket.socket) -> None:
    print("hello", file=file.stream())
    (message,) = arrived(daemon)
    assert message.startswith("<11>")
    assert message.endswith(": hello")


def test_a_daemon_that_reads_nothing_is_not_waited_for(
    file: LogFile, daemon: socket.socket
) -> None:
    for number in range(2000):
        file.write(f"line {number}")
    assert file.lost > 1000
    lost = file.lost
    assert len(arrived(daemon)) == 2000 - lost
    file.write("again")
    count, line = arrived(daemon)
    assert count.endswith(f"({lost} lines before this one were lost)")
    assert line.endswith("again")


def test_a_daemon_that_has_begun_anew_is_found(
    file: LogFile, daemon: socket.socket, tmp_path: Path
) -> None:
    fd = file.fd
    daemon.close()
    file.write("nobody")
    assert file.lost == 1
    (tmp_path / "s").unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as successor:
        successor.bind(str(tmp_path / "s"))
        successor.setblocking(False)
        file.write("somebody")
        assert arrived(successor)[1].endswith("somebody")
    assert file.fd == fd


def test_a_socket_that_another_program_has_connected_goes_on(
    file: LogFile, daemon: socket.socket
) -> None:
    heir = log.inherited(file.path, os.dup(file.fd))
    heir.write("hello")
    assert arrived(daemon)[0].endswith("hello")
    heir.reopen()
    heir.write("again")
    assert arrived(daemon)[0].endswith("again")


def test_a_message_over_the_network_says_from_where() -> None:
    message = syslog.parse("syslog+udp://127.0.0.1").message(b"hello", 6).decode()
    assert f" {socket.gethostname()} prefork[" in message
    assert message.startswith("<14>")
