"""The server that all is done to: a process of its own, with the app, its journal and its log."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.chaos.clients import HOST

APP = Path(__file__).resolve().parents[1] / "apps" / "chaos.py"
# For what must come in any case, in seconds.
PATIENCE = 60.0


@dataclass(frozen=True)
class Subject:
    """A server that is tried: `argv` gives the command for a port and a number of workers, with
    more words for what a scenario needs; `ours` is whether that is prefork."""

    name: str
    title: str
    argv: Callable[[int, int], list[str]]
    environ: dict[str, str]
    ours: bool


class Target:
    """A running server, in a directory of its own.

    Args:
        subject: which one.
        directory: where; the app, `deployed.py`, is put there.
        workers: how many.
        settings: for prefork's TOML.
    """

    def __init__(
        self, subject: Subject, directory: Path, workers: int, settings: dict[str, str]
    ) -> None:
        self.ours = subject.ours
        self.directory = directory
        self.journal = directory / "journal"
        self._log = directory / "log"
        self._deploys = 0
        self.deploy()
        self.configure(settings)
        self.port = _free_port()
        words = subject.argv(self.port, workers)
        config = ["-c", str(directory / "conf.toml")] if self.ours else []
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                [*words, *config],
                cwd=directory,
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHONDONTWRITEBYTECODE": "1",
                    "PYTHONPATH": str(directory),
                    "CHAOS_JOURNAL": str(self.journal),
                    **subject.environ,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    # The app and the settings.

    def deploy(self, mistake: str = "") -> None:
        """Put the app in place, with some code before it and, by its mark, after."""
        before, _, after = mistake.partition("# after")
        path = self.directory / "deployed.py"
        # In one step: nobody imports half of it.
        fresh = self.directory / "fresh.py"
        text = APP.read_text().replace("import os\n", f"import os\n{before}\n", 1)
        fresh.write_text(f"{text}\n{after}\n")
        self._deploys += 1
        stamp = time.time() + 2 * self._deploys
        os.utime(fresh, (stamp, stamp))
        fresh.rename(path)

    def configure(self, settings: dict[str, str]) -> None:
        """Write prefork's settings, as TOML."""
        lines = [f"{name} = {value}\n" for name, value in settings.items()]
        (self.directory / "conf.toml").write_text("".join(lines))

    # What it says and is.

    @property
    def pid(self) -> int:
        """The main process."""
        return self._process.pid

    @property
    def log(self) -> str:
        """All that it has logged."""
        return self._log.read_text(errors="replace")

    def mark(self) -> int:
        """Where the log ends now."""
        return len(self.log)

    def wait_for(self, pattern: str, since: int = 0, seconds: float = PATIENCE) -> bool:
        """Wait for a line of the log, from an offset on; whether it has come."""
        return eventually(lambda: re.search(pattern, self.log[since:]) is not None, seconds)

    def family(self) -> list[int]:
        """The pids of all its processes but the main one."""
        found = [self.pid]
        for one in found:
            with suppress(OSError):
                for task in Path(f"/proc/{one}/task").iterdir():
                    found += map(int, (task / "children").read_text().split())
        return found[1:]

    @property
    def lives(self) -> bool:
        """Whether the main process does."""
        return self._process.poll() is None

    def wait_until_it_serves(self) -> None:
        """Wait for an answer.

        Raises:
            RuntimeError: there is none.
        """
        up = eventually(lambda: not self.lives or self._answers())
        if up and self.ours:
            up = self.wait_for("started: ")
        elif up:
            # They don't say when all their workers serve.
            time.sleep(1.0)
        if not up or not self.lives:
            raise RuntimeError(f"it does not start:\n{self.log[-2000:]}")

    def _answers(self) -> bool:
        request = b"GET /?0 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        with suppress(OSError), socket.create_connection((HOST, self.port), timeout=5) as sock:
            sock.sendall(request)
            return sock.recv(4096).startswith(b"HTTP/1.1 200")
        return False

    # What is done to it.

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the main process, if it lives."""
        if self.lives:
            self._process.send_signal(number)

    def wait(self, seconds: float = PATIENCE) -> int | None:
        """Wait for its end: its exit status, None if it goes on."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(seconds)
        return None

    def end(self) -> None:
        """Make sure that nothing of it is left."""
        family = [self.pid, *self.family()]
        self.send(signal.SIGTERM)
        self.wait(5)
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        for pid in family[1:]:
            if alive(pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._process.wait()


@contextmanager
def running(
    subject: Subject, directory: Path, workers: int, settings: dict[str, str]
) -> Iterator[Target]:
    """A target that serves, until the end of the block."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    target = Target(subject, directory, workers, settings)
    try:
        target.wait_until_it_serves()
        yield target
    finally:
        target.end()


def eventually(condition: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    """Wait until it holds; whether it does."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def alive(pid: int) -> bool:
    """Whether there is such a process, other than a zombie."""
    return state(pid) not in ("", "Z")


def state(pid: int) -> str:
    """A process's state as proc(5) has it; empty if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def port_is_free(port: int) -> bool:
    """Whether somebody else could listen there."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((HOST, port))
            sock.listen()
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
