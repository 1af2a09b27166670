"""A real prefork in a process of its own, and how tests wait for what it does."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from prefork.config import key_toml, value_toml
from tests.support.clients import Client

T = TypeVar("T")

# For what must come in any case: generous, as machines are busy. No test measures by it.
PATIENCE = 30.0
ROOT = Path(__file__).resolve().parents[2]


def eventually(condition: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
    """Wait until the condition gives something true, and return that."""
    end = time.monotonic() + seconds
    while not (outcome := condition()):
        assert time.monotonic() < end, f"waited {seconds:g} s in vain for: {what}"
        time.sleep(0.01)
    return outcome


class Server:
    """A running prefork.

    Args:
        app: the app, `module:attr`, found in `directory` or in the project.
        directory: where it runs; its conf.toml and log are kept there.
        settings: what goes into conf.toml; a dict becomes a table.
        environ: environment variables besides the test's own.
    """

    def __init__(
        self,
        app: str,
        directory: Path,
        settings: Mapping[str, Any],
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.config = directory / "conf.toml"
        self._log_path = directory / "error.log"
        self.configure(settings)
        with open(self._log_path, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "prefork", app, "-c", str(self.config)],
                cwd=directory,
                env={
                    **os.environ,
                    "PYTHONPATH": str(ROOT),
                    "PWD": str(directory),
                    **(environ or {}),
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Write conf.toml anew; port 0 of the loopback unless the settings say otherwise."""
        lines = []
        for name, value in sorted(
            {"bind": "127.0.0.1:0", **settings}.items(), key=lambda item: isinstance(item[1], dict)
        ):
            if isinstance(value, dict):
                lines.append(f"[{name}]")
                lines += [f"{key_toml(key)} = {_toml(item)}" for key, item in value.items()]
            else:
                lines.append(f"{name} = {value_toml(value)}")
        self.config.write_text("\n".join(lines) + "\n")

    # What it says.

    @property
    def log(self) -> str:
        """All that it has logged."""
        return self._log_path.read_text(errors="replace")

    def wait_for(self, pattern: str, since: int = 0, seconds: float = PATIENCE) -> re.Match[str]:
        """Wait for a line of the log that matches, from an offset on (see `mark`)."""
        return eventually(
            lambda: re.search(pattern, self.log[since:]), f"{pattern!r} in the log", seconds
        )

    def mark(self) -> int:
        """Where the log ends now."""
        return len(self.log)

    def started(self) -> Server:
        """Wait until all workers serve."""
        eventually(
            lambda: re.search(r"started: \d+ serving", self.log) or self.process.poll() is not None,
            "the server to start",
        )
        assert self.process.poll() is None, "the server did not start"
        return self

    @property
    def port(self) -> int:
        """The port of the first TCP listener."""
        return int(self.wait_for(r"listening on https?://\S+:(\d+)")[1])

    @property
    def url(self) -> str:
        """The first TCP listener as a URL."""
        return f"http://127.0.0.1:{self.port}"

    def client(self, timeout: float = PATIENCE) -> Client:
        """A new keep-alive client, which connects with its first request."""
        return Client(self.port, timeout)

    # What it is told.

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the master."""
        self.process.send_signal(number)

    def reload(self, seconds: float = PATIENCE) -> None:
        """Reload, and wait until that is done."""
        since = self.mark()
        self.send(signal.SIGHUP)
        outcome = self.wait_for(
            r"reload \S+ ?\S* ?\S* ?(done|aborted)|reload (refused)", since, seconds
        )
        assert outcome[1] == "done", self.log[since:]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stop it: its exit status."""
        if self.process.poll() is None:
            self.send(number)
        return self.wait()

    def wait(self, seconds: float = PATIENCE) -> int:
        """Wait until it has ended by itself: its exit status."""
        return self.process.wait(seconds)

    def kill(self) -> None:
        """Make sure that nothing of it is left."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)

    # What it consists of.

    @property
    def pid(self) -> int:
        """The master's pid."""
        return self.process.pid

    def workers(self) -> dict[int, int]:
        """The pids of the living workers that have become ready, by slot; the newest counts."""
        alive = set(children(self.pid))
        found = {}
        for slot, pid in re.findall(r"worker=(\d+) gen=\d+ pid=(\d+) ready", self.log):
            if int(pid) in alive:
                found[int(slot)] = int(pid)
        return found


def _toml(value: Any) -> str:
    """A value of a table, which may be a table in its turn."""
    if not isinstance(value, dict):
        return value_toml(value)
    items = (f"{key_toml(key)} = {value_toml(item)}" for key, item in value.items())
    return f"{{{', '.join(items)}}}"


def listening_inode(port: int) -> str:
    """The socket that listens on an IPv4 port, as /proc/PID/fd names it: proc(5), net/tcp."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    (inode,) = [row[9] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A"]
    return f"socket:[{inode}]"


def fds(pid: int) -> dict[int, str]:
    """What each fd of a process is."""
    found = {}
    for entry in os.scandir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found[int(entry.name)] = os.readlink(entry.path)
    return found


def children(pid: int) -> list[int]:
    """The pids of the living children of a process.

    Its own list of them, /proc/PID/task/TID/children, leaves some out while others exit: proc(5).
    """
    return [process for process in processes() if parent(process) == pid and alive(process)]


def processes() -> list[int]:
    """The pids of all processes."""
    return [int(entry) for entry in os.listdir("/proc") if entry.isdecimal()]


def parent(pid: int) -> int:
    """The pid of a process's parent; 0 if there is no such process."""
    fields = stat(pid)
    return int(fields[1]) if fields else 0


def alive(pid: int) -> bool:
    """Whether there is such a process, other than a zombie."""
    return state(pid) not in ("Z", "")


def state(pid: int) -> str:
    """A process's state as proc(5) has it, such as "S" for asleep; empty if there is none."""
    fields = stat(pid)
    return fields[0] if fields else ""


def stat(pid: int) -> list[str]:
    """What /proc/PID/stat says from the state on: proc(5); nothing if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def at_rest(pids: Iterable[int]) -> bool:
    """Whether all threads of these processes are asleep: what a worker has answered it is done with
    only then, however long the machine leaves it standing in between."""
    return all(
        task.read_text().rpartition(")")[2].split()[0] == "S"
        for pid in pids
        for task in Path(f"/proc/{pid}/task").glob("*/stat")
    )


def open_files(pid: int) -> list[str]:
    """What the descriptors of a process stand for, as proc(5) has it."""
    targets = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            targets.append(os.readlink(link))
    return targets


def private_memory(pid: int) -> int:
    """The memory of a process, in bytes, that is no file: proc(5). Its share of files, which PSS
    counts, changes with how many other processes there are."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) << 10
    raise AssertionError("nothing anonymous")
