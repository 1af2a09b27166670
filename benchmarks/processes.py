"""A server as processes: started on a core of its own, watched through /proc, and stopped."""

from __future__ import annotations

import http.client
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from benchmarks.loads import Load
from benchmarks.servers import PROJECT, VENV, Server

HOST = "127.0.0.1"
APPS = Path(__file__).resolve().parent / "apps"
MANY = 1000  # for more connections than these a server is started with its options for that

_FILES = 1000  # that a server may need beside its connections

_TICKS = os.sysconf("SC_CLK_TCK")
_BOOT = 20.0  # seconds that a server may take to answer
_STOP = 5.0  # seconds that it may take to stop


class Unable(Exception):
    """A server can't be measured under a load; the message says why."""


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    pid: int
    port: int

    def processes(self) -> list[int]:
        """The pids of the server's process and of all its descendants."""
        found = [self.pid]
        for one in found:
            for task in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        return found

    def cpu_seconds(self) -> dict[int, float]:
        """User and system time that each process has used."""
        with _not_ended():
            return {pid: _cpu_seconds(pid) for pid in self.processes()}

    def pss_mib(self) -> float:
        """The memory of all processes; a page that n processes share counts as 1/n in each."""
        with _not_ended():
            return sum(map(_pss_mib, self.processes()))


@contextmanager
def running(server: Server, load: Load, core: int) -> Iterator[Running]:
    """Start a server as a load needs it, on one core, and stop it in the end.

    Raises Unable when it does not start, with the first of its own words about that, or when
    not enough files can be open here.
    """
    port, many = _free_port(), load.connections > MANY
    if many:
        _allow_files(load.connections)
    command, *arguments = server.argv(load.app, port, load.workers, many)
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [VENV / "bin" / command, *arguments],
            cwd=APPS,
            # Not WEB_CONCURRENCY and the like.
            env={"PATH": f"{VENV / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(APPS)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
            start_new_session=True,
        )
        try:
            _wait_for_answer(process, port, log)
            yield Running(process.pid, port)
        finally:
            _stop(process)


def two_cores() -> tuple[int, int]:
    """Two of the CPUs that this process may use, if possible not two threads of one core."""
    first, *others = sorted(os.sched_getaffinity(0))
    if not others:
        sys.exit("two CPUs are needed: one for the server, one for its clients")
    topology = Path(f"/sys/devices/system/cpu/cpu{first}/topology/core_cpus_list")
    same_core = topology.read_text().strip() if topology.exists() else ""
    apart = [cpu for cpu in others if str(cpu) not in re.split("[,-]", same_core)]
    return first, (apart or others)[0]


@contextmanager
def _not_ended() -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, ProcessLookupError):
        raise Unable("a process of it has ended meanwhile") from None


def _allow_files(connections: int) -> None:
    """Raise the limit of this process, which its clients need, and which the servers inherit."""
    needed = connections + _FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < needed:
        raise Unable(f"can't have {connections} connections here: RLIMIT_NOFILE is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for_answer(process: subprocess.Popen[bytes], port: int, log: IO[bytes]) -> None:
    end = time.monotonic() + _BOOT
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError, http.client.HTTPException):
            if _status(port) == 200:
                return
        time.sleep(0.05)
    raise Unable(f"can't be started: {_complaint(log)}")


def _status(port: int) -> int:
    client = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        client.request("GET", "/")
        response = client.getresponse()
        response.read()
        return response.status
    finally:
        client.close()


def _complaint(log: IO[bytes]) -> str:
    """The first line of what a server has said, but not how it is used, or where it was."""
    log.seek(0)
    lines = log.read().decode(errors="replace").splitlines()
    told = [line for line in lines if line.strip() and not line.startswith(("usage:", " "))]
    errors = [line for line in told if not line.startswith(("Traceback", "***", "[uWSGI]"))]
    return (errors or ["it says nothing"])[0].replace(f"{PROJECT}/", "")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """As an init system would: TERM to the main process, and in the end KILL to the rest."""
    process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _cpu_seconds(pid: int) -> float:
    """proc(5): utime and stime. They count whole ticks, mostly of 10 ms."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / _TICKS


def _pss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0
