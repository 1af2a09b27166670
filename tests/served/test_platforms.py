"""Where services run: under a process manager, as a container's only service, with nothing to write
to."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.clients import Client
from tests.support.command import launched
from tests.support.server import PATIENCE, alive, children, eventually, parent, processes, state

PROBE = "tests.apps.probe:app"


def can_unshare(*what: str) -> bool:
    command = ["unshare", *what, "true"]
    return (
        shutil.which("unshare") is not None
        and subprocess.run(command, capture_output=True).returncode == 0
    )


# A container's first process.

CONTAINER = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]


def zombies(pid: int) -> list[int]:
    return [process for process in processes() if parent(process) == pid and state(process) == "Z"]


@pytest.mark.skipif(not can_unshare(*CONTAINER[1:]), reason="there can't be a PID namespace")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_process_of_a_container_obeys_signals_and_buries_everybody(
    tmp_path: Path, number: signal.Signals
) -> None:
    with launched(tmp_path, PROBE, "-b", "127.0.0.1:0", under=CONTAINER) as server:
        server.started()
        assert "master pid=1:" in server.log
        (master,) = children(server.pid)
        with Client(server.port, PATIENCE) as client:
            for _ in range(3):
                assert client.ask("/orphan").text == "orphaned\n"
            # The worker, and nobody else.
            eventually(lambda: len(children(master)) == 1 and not zombies(master), "no orphans")
            for command in (signal.SIGHUP, signal.SIGUSR2):
                since = server.mark()
                os.kill(master, command)
                server.wait_for(r"reload to generation \d+ done", since)
                assert client.ask("/").status == 200
        since = server.mark()
        os.kill(children(master)[0], signal.SIGKILL)
        server.wait_for("ready after", since)
        with Client(server.port, PATIENCE) as client:
            assert client.ask("/").status == 200
        os.kill(master, number)
        assert server.wait() == 0


# Nothing to write to.

READ_ONLY = """
while umount /dev/shm; do :; done 2>/dev/null
while read -r _ mounted _; do mount -o remount,bind,ro "$mounted"; done </proc/mounts 2>/dev/null
touch here 2>/dev/null && exit 99
exec "$@"
"""


@pytest.mark.skipif(not can_unshare("--mount"), reason="there can't be a mount namespace")
@pytest.mark.parametrize("kind", ["sync", "gevent"])
def test_a_service_that_can_write_nowhere_serves_and_says_what_is_missing(
    tmp_path: Path, kind: str
) -> None:
    with launched(
        tmp_path,
        *(PROBE, "-b", "127.0.0.1:0", "-w", "2", "-k", kind),
        under=["unshare", "--mount", "sh", "-c", READ_ONLY, "sh"],
    ) as server:
        server.started()
        assert len(re.findall("no semaphores here", server.log)) == 1
        assert len(re.findall("no directory for temporary files", server.log)) == 2
        with Client(server.port, PATIENCE) as client:
            assert client.ask("/").status == 200
            server.reload()
            assert client.ask("/").status == 200
        # A body that is not kept in memory.
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        chunks = iter([b"x" * 65536] * 33)
        connection.request("POST", "/", chunks, encode_chunked=True)
        assert connection.getresponse().status == 503
        connection.close()
        assert server.stop() == 0


# A process manager.

# Each process gets a session of its own, and at the end all that is in it the same signal.
HONCHO = """
printf 'web: %s\\nother: sleep 1000\\n' "$*" >Procfile
exec "$0" -m honcho start -p 0
"""


def test_a_request_is_answered_when_a_process_manager_stops_all_processes_at_once(
    tmp_path: Path,
) -> None:
    with launched(
        tmp_path,
        PROBE,
        environ={"WEB_CONCURRENCY": "2", "PYTHONUNBUFFERED": "1"},
        under=["sh", "-c", HONCHO, sys.executable],
    ) as server:
        server.started()
        assert "2 sync workers for" in server.log
        (master,) = map(int, set(re.findall(r"master pid=(\d+)", server.log)))
        try:
            with Client(server.port, PATIENCE) as client:
                client.request("GET", "/hold?x")
                eventually((tmp_path / "x.begun").exists, "the request")
                server.send(signal.SIGTERM)
                server.wait_for("SIGTERM received")
                (tmp_path / "x.go").touch()
                assert client.getresponse().read() == b"held\n"
            server.wait()
            assert re.search(r"web\.1 +\| .* stopped\n", server.log)
        finally:
            if alive(master):
                os.killpg(os.getpgid(master), signal.SIGKILL)
