"""What systemd passes, what it is told, and the sample units."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from prefork.errors import UsageError
from prefork.master.condition import condition_of
from prefork.master.fleet import Fleet
from prefork.systemd import Condition, Notifier, PassedSocket, hide, news, passed_sockets
from prefork.wire.identity import WorkerId
from tests.support.server import PATIENCE, ROOT

PID = str(os.getpid())
SERVING = Condition(ready=True, status="all is well")


# Sockets.


def test_passed_sockets_are_numbered_from_3_and_have_names() -> None:
    environ = {"LISTEN_PID": PID, "LISTEN_FDS": "2", "LISTEN_FDNAMES": "web:api"}
    assert passed_sockets(environ) == [PassedSocket(3, "web"), PassedSocket(4, "api")]
    del environ["LISTEN_FDNAMES"]
    assert passed_sockets(environ) == [PassedSocket(3, ""), PassedSocket(4, "")]


@pytest.mark.parametrize("meant_for", ["1", "", "x"])
def test_sockets_that_were_passed_to_another_process_are_not_ours(meant_for: str) -> None:
    assert passed_sockets({"LISTEN_PID": meant_for, "LISTEN_FDS": "1"}) == []
    assert passed_sockets({"LISTEN_FDS": "1"}) == []


@pytest.mark.parametrize("count", ["", "-1", "many", "99999", "²"])
def test_a_number_of_sockets_that_is_none_is_refused(count: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"$LISTEN_FDS = {count!r}")):
        passed_sockets({"LISTEN_PID": PID, "LISTEN_FDS": count})


def test_nothing_of_it_is_left_for_the_app() -> None:
    environ = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1", "LISTEN_FDS": "1", "LANG": "C"}
    hide(environ)
    assert environ == {"LANG": "C"}


# What it is told.


def test_it_is_told_once_that_the_service_is_ready_and_how_it_is() -> None:
    assert news(Condition(), SERVING, 7) == ["READY=1\nMAINPID=7", "STATUS=all is well"]
    assert news(SERVING, SERVING, 7) == []


def test_a_reload_that_begins_and_one_that_ends_are_told() -> None:
    begun = Condition(ready=True, reload_asked=1.5, reloading=True)
    ended = Condition(ready=True, reload_asked=1.5)
    told = Condition(ready=True)
    assert news(told, begun, 7) == ["RELOADING=1\nMONOTONIC_USEC=1500000"]
    assert news(begun, ended, 7) == ["READY=1\nMAINPID=7"]


def test_a_reload_that_was_refused_at_once_is_told_whole() -> None:
    refused = Condition(ready=True, reload_asked=2.0)
    assert news(Condition(ready=True), refused, 7) == [
        "RELOADING=1\nMONOTONIC_USEC=2000000",
        "READY=1\nMAINPID=7",
    ]


def test_a_second_reload_during_one_is_told_with_its_own_time() -> None:
    first = Condition(ready=True, reload_asked=1.0, reloading=True)
    second = Condition(ready=True, reload_asked=2.0, reloading=True)
    assert news(first, second, 7) == ["RELOADING=1\nMONOTONIC_USEC=2000000"]


def test_a_stop_is_told_whatever_else_is_under_way() -> None:
    reloading = Condition(ready=True, reload_asked=1.0, reloading=True)
    stopping = Condition(ready=True, reload_asked=1.0, stopping=True)
    assert news(reloading, stopping, 7) == ["STOPPING=1"]


def test_the_condition_of_a_service_follows_its_fleet() -> None:
    fleet = Fleet(2)

    def condition() -> Condition:
        return condition_of(fleet, 0.0, reloading=False)

    assert condition() == Condition(reload_asked=0.0, status="starting: 0 of 2 workers serve")
    for slot in (1, 2):
        worker = fleet.spawned(WorkerId(slot, 1, 100 + slot), 30.0, 30.0, 0.0)
        assert condition().ready is (slot == 2)
        fleet.ready(worker, 0.0)
    fleet.plan(0.0)
    assert condition().status == "generation 1: 2 of 2 workers serve"
    fleet.reload(2, 1.0)
    assert condition().reloading
    assert condition().status == "reloading to generation 2: 2 workers to replace"
    worker = fleet.spawned(WorkerId(1, 2, 201), 30.0, 30.0, 1.0)
    fleet.exited(worker, "exited with status 3", 1.0)
    assert not condition().reloading
    assert "the reload after it has failed" in condition().status
    fleet.stop(2.0)
    assert (condition().stopping, condition().status) == (True, "stopping")


def test_what_the_socket_does_not_take_is_told_later(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(PATIENCE)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.setblocking(False)
            filled = 0
            with pytest.raises(BlockingIOError):
                while True:
                    other.sendto(b"x", path)
                    filled += 1
        notifier = Notifier(path, patience=0.0)
        notifier.tell(SERVING, 100.0)
        assert 100.0 < notifier.deadline < 110.0
        assert {manager.recv(100) for _ in range(filled)} == {b"x"}
        notifier.tell(SERVING, notifier.deadline)
        assert manager.recv(100).startswith(b"READY=1\n")
        assert notifier.deadline == float("inf")
        notifier.disown()


def test_the_watchdog_is_told_twice_in_its_time_that_the_master_lives(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.setblocking(False)
        notifier = Notifier.of({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "3000000"})
        for now, told in ((10.0, True), (11.0, False), (11.5, True)):
            notifier.tell(Condition(), now)
            if told:
                assert manager.recv(100) == b"WATCHDOG=1"
                assert notifier.deadline == now + 1.5
            else:
                with pytest.raises(BlockingIOError):
                    manager.recv(100)
        notifier.disown()


@pytest.mark.parametrize(
    "environ",
    [
        {"WATCHDOG_USEC": "1000000"},
        {"NOTIFY_SOCKET": "vsock:2:1234"},
        {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"},
        {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "soon"},
    ],
)
def test_nothing_is_due_where_nobody_watches(environ: dict[str, str]) -> None:
    notifier = Notifier.of(environ)
    notifier.tell(Condition(), 1.0)
    assert notifier.deadline == float("inf")
    notifier.disown()


# The units.


def version_of_systemd() -> int:
    said = subprocess.run(["systemd-analyze", "--version"], capture_output=True, text=True).stdout
    found = re.match(r"systemd (\d+)", said)
    return int(found[1]) if found else 0


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    service = (ROOT / "conf/prefork.service").read_text()
    service = service.replace("/srv/mysite/.venv/bin/prefork", sys.executable)
    if version_of_systemd() < 253:  # as the unit itself says
        service = service.replace("notify-reload", "notify\nExecReload=kill -HUP $MAINPID")
    # Its man page is not installed here.
    service = re.sub(r"Documentation=.*\n", "", service)
    (tmp_path / "prefork.service").write_text(service)
    shutil.copy(ROOT / "conf/prefork.socket", tmp_path)
    units = [str(tmp_path / name) for name in ("prefork.service", "prefork.socket")]
    done = subprocess.run(
        ["systemd-analyze", "verify", *units], capture_output=True, text=True, timeout=PATIENCE
    )
    assert (done.returncode, done.stderr) == (0, "")
