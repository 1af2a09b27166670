"""Upgrades: the master executes itself anew, and nobody notices, whatever has been installed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest

from prefork import __version__
from tests.conftest import Serve
from tests.support.clients import Client, Load, UnixClient
from tests.support.mix import APP, MIX, fast
from tests.support.modes import Mode
from tests.support.rawhttp import Wire, running
from tests.support.server import (
    PATIENCE,
    ROOT,
    Server,
    alive,
    children,
    eventually,
    fds,
)


def upgrade(server: Server) -> None:
    """Upgrade, and wait until the reload that follows is done."""
    since = server.mark()
    server.send(signal.SIGUSR2)
    outcome = server.wait_for(r"taken over by|upgrade refused", since)
    assert outcome[0] == "taken over by", server.log[since:]
    outcome = server.wait_for(r"reload to generation \d+ (done|aborted)|reload (refused)", since)
    assert outcome[1] == "done", server.log[since:]


class Installation:
    """A copy of the package, from which servers are started, and which tests change.

    A program that is to take over waits as long as there is a file `hold-rehearsal` or
    `hold-takeover`, by what it is executed for, when it has made one that is named `rehearsal` or
    `takeover`.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.package = directory / "prefork"
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "prefork", self.package, ignore=ignored)
        self.environ = {"PYTHONPATH": f"{directory}:{ROOT}"}
        self._later = time.time()
        here = str(directory)
        self.put_first(
            "__init__.py",
            "import os, time\n"
            "_what = os.environ.get('PREFORK_HANDOVER', '')\n"
            "_what = 'rehearsal' if 'rehearsal' in _what else 'takeover' if _what else ''\n"
            "if _what:\n"
            f"    with open(os.path.join({here!r}, _what), 'w') as _file:\n"
            "        _file.write(str(os.getpid()))\n"
            f"    _hold = os.path.join({here!r}, 'hold-' + _what)\n"
            "    while os.path.exists(_hold): time.sleep(0.01)\n",
        )

    def put_first(self, name: str, code: str) -> None:
        """Put code in front of all that a file does."""
        text = (self.package / name).read_text()
        first = "from __future__ import annotations\n"
        self.write(name, text.replace(first, first + code, 1) if first in text else code + text)

    def change(self, name: str, before: str, after: str) -> None:
        """Write something else in a file."""
        text = (self.package / name).read_text()
        assert text.count(before) == 1
        self.write(name, text.replace(before, after))

    def write(self, name: str, text: str) -> None:
        """Write a file of the package."""
        (self.package / name).write_text(text)
        # Python compares seconds.
        self._later += 2
        os.utime(self.package / name, (self._later,) * 2)

    def hold(self, what: str) -> None:
        """Have the next program that is executed for this wait."""
        (self.directory / f"hold-{what}").touch()

    def held(self, what: str) -> int:
        """Wait for that: its pid."""
        file = self.directory / what
        return int(eventually(lambda: file.exists() and file.read_text(), f"the {what}"))

    def release(self, what: str) -> None:
        """Let it go on."""
        (self.directory / what).unlink()
        (self.directory / f"hold-{what}").unlink()


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path / "installation")


# Nobody notices.


def test_upgrades_lose_no_request_of_keep_alive_clients(serve: Serve, mode: Mode) -> None:
    server = serve(APP, workers=2, **mode.settings)
    pid = server.pid
    with Load(server.client, MIX, clients=24) as clients:
        for _ in range(3):
            upgrade(server)
            clients.answer(50)
    assert clients.losses == []
    assert server.process.poll() is None and server.pid == pid
    assert "Traceback" not in server.log
    assert len(children(pid)) == 2


def test_upgrades_lose_no_request_of_clients_that_connect_for_each(
    serve: Serve, mode: Mode
) -> None:
    def once(client: Client) -> None:
        assert client.ask("/", headers={"Connection": "close"}).text == "fast\n"

    server = serve(APP, workers=2, **mode.settings)
    with Load(server.client, [once], clients=8) as clients:
        for _ in range(2):
            upgrade(server)
            clients.answer(50)
    assert clients.losses == []


def test_idle_connections_keep_their_socket_and_are_served_by_the_new_generation(
    serve: Serve, kind: Mode
) -> None:
    server = serve(APP, workers=2, **kind.settings)
    clients = [server.client() for _ in range(50)]
    for client in clients:
        client.ask("/")
    socks = [client.sock for client in clients]
    upgrade(server)
    server.wait_for(r"taken over by prefork \S+ after \S+ s: 2 workers, 50 connections")
    for client, sock in zip(clients, socks, strict=True):
        assert client.ask("/who").text.split()[1] == "2"
        assert client.sock is sock


def test_a_request_in_flight_is_answered(serve: Serve, mode: Mode, tmp_path: Path) -> None:
    server = serve(APP, workers=2, **mode.settings)
    held = tmp_path / "held"
    with server.client() as client:
        client.request("GET", f"/hold?{held}")
        eventually(held.exists, "the request to run")
        server.send(signal.SIGUSR2)
        server.wait_for("reload to generation 2 begun")
        held.unlink()
        response = client.getresponse()
        assert (response.status, response.read()) == (200, b"held\n")
    server.wait_for("reload to generation 2 done")


def test_the_master_keeps_its_pid_and_its_children_which_are_then_replaced(
    serve: Serve, tmp_path: Path
) -> None:
    (tmp_path / "boots.py").write_text(
        "import os, time\n"
        "while os.path.exists('wait'): time.sleep(0.01)\n"
        "from tests.apps.mix import app\n"
    )
    pidfile = tmp_path / "pid"
    server = serve("boots:app", workers=2, pidfile=str(pidfile))
    before = server.workers()
    (tmp_path / "wait").touch()
    server.send(signal.SIGUSR2)
    server.wait_for(r"worker=1 gen=2 pid=\d+ spawned")
    assert set(before.values()) < set(children(server.pid))
    assert pidfile.read_text() == f"{server.pid}\n"
    (tmp_path / "wait").unlink()
    server.wait_for("reload to generation 2 done")
    assert set(server.workers()) == {1, 2}
    assert not set(server.workers().values()) & set(before.values())
    assert server.stop() == 0
    assert not pidfile.exists()


def test_workers_know_nothing_of_an_upgrade(serve: Serve) -> None:
    server = serve(APP, workers=1)
    upgrade(server)
    with server.client() as client:
        assert client.ask("/environ?PREFORK_HANDOVER").text == ""


def test_connections_that_the_master_holds_go_over(serve: Serve) -> None:
    server = serve(APP, workers=2)
    clients = [server.client() for _ in range(10)]
    for client in clients:
        client.ask("/")
    socks = [client.sock for client in clients]
    server.send(signal.SIGWINCH)
    eventually(lambda: not children(server.pid), "the workers to be gone")
    with server.client() as waiting:
        waiting.request("GET", "/who")
        clients[0].request("GET", "/who")
        upgrade(server)
        server.wait_for(r"taken over by prefork \S+ after \S+ s: 0 workers, 1[01] connections")
        assert waiting.getresponse().read().split()[1] == b"2"
        assert clients[0].getresponse().read().split()[1] == b"2"
    for client, sock in zip(clients, socks, strict=True):
        fast(client)
        assert client.sock is sock


def test_connections_that_wait_for_room_go_over(serve: Serve, tmp_path: Path) -> None:
    server = serve(APP, workers=2)
    files = [tmp_path / name for name in ("one", "two")]
    holding = [server.client() for _ in files]
    for client, file in zip(holding, files, strict=True):
        client.request("GET", f"/hold?{file}")
        eventually(file.exists, "the request to run")
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(server.client()) for _ in range(5)]
        for client in waiting:
            client.request("GET", "/")
        server.send(signal.SIGUSR2)
        server.wait_for("reload to generation 2 begun")
        for file in files:
            file.unlink()
        for client in (*holding, *waiting):
            assert client.getresponse().status == 200
    server.wait_for("reload to generation 2 done")


def test_a_connection_that_lingers_is_closed_by_the_new_master(serve: Serve) -> None:
    server = serve(APP, workers=1)
    before = len(fds(server.pid))
    with Wire(server.port) as wire:
        # The client does not close; the master waits for that, but not for long.
        wire.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert wire.response().status == 200
        upgrade(server)
        eventually(lambda: len(fds(server.pid)) == before, "the connection to be closed")
        wire.assert_closed()


def test_a_unix_socket_stays_where_it_is_until_the_end(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "sock"
    server = serve(APP, workers=1, bind=f"unix:{path}")
    inode = path.stat().st_ino
    with UnixClient(str(path), PATIENCE) as client:
        fast(client)
        sock = client.sock
        upgrade(server)
        fast(client)
        assert client.sock is sock
    assert path.stat().st_ino == inode
    with UnixClient(str(path), PATIENCE) as client:
        assert client.ask("/who").text.split()[1] == "2"
    assert server.stop() == 0
    assert not path.exists()


def kinds_of(pid: int) -> list[str]:
    """What the fds of a process are, without what differs between two of a kind."""
    return sorted(re.sub(r"\[.*]", "", what) for what in fds(pid).values())


def test_ten_upgrades_leave_no_fd_behind(serve: Serve, tmp_path: Path) -> None:
    server = serve(APP, workers=2, access_log=str(tmp_path / "access.log"))
    clients = [server.client() for _ in range(10)]
    for client in clients:
        client.ask("/")
    before, of_a_worker = kinds_of(server.pid), kinds_of(server.workers()[1])
    numbers = set(fds(server.pid))
    for _ in range(10):
        upgrade(server)
    assert kinds_of(server.pid) == before
    assert max(fds(server.pid)) <= max(numbers) + 5
    for client in clients:
        fast(client)
    fixed = [what for what in of_a_worker if what != "socket:"]
    assert [what for what in kinds_of(server.workers()[1]) if what != "socket:"] == fixed


# What is installed, and what is wrong with it.


def test_another_version_is_in_use_after_an_upgrade(
    serve: Serve, installation: Installation
) -> None:
    server = serve(APP, workers=1, environ=installation.environ)
    assert f"prefork {__version__}: " in server.log
    installation.change("__init__.py", f'"{__version__}"', '"99.0"')
    upgrade(server)
    server.wait_for("taken over by prefork 99.0 ")


BROKEN: dict[str, tuple[str, str, str]] = {
    "syntax error": ("master/fleet.py", "def f(:\n", "SyntaxError"),
    "exits": ("cli.py", "import sys\nsys.exit('gave up')\n", "exited with status 1:\n +gave up"),
    "exits well": ("cli.py", "import sys\nsys.exit(0)\n", "exited with status 0$"),
    "crashes": ("cli.py", "import os\nos.kill(os.getpid(), 11)\n", "was killed by SIGSEGV"),
    "hangs": ("cli.py", "import time\ntime.sleep(3600)\n", "not done within listen_timeout"),
    "misses something": ("cli.py", "import there_is_no_such_module\n", "ModuleNotFoundError"),
}


@pytest.mark.parametrize("breakage", BROKEN)
def test_a_broken_installation_changes_nothing(
    serve: Serve, installation: Installation, breakage: str
) -> None:
    impatient = {"listen_timeout": 5} if breakage == "hangs" else {}
    server = serve(APP, workers=2, environ=installation.environ, **impatient)
    pids, before = server.workers(), kinds_of(server.pid)
    name, code, why = BROKEN[breakage]
    good = (installation.package / name).read_text()
    with Load(server.client, MIX, clients=12) as clients:
        clients.answer(20)
        installation.put_first(name, code)
        server.send(signal.SIGUSR2)
        server.wait_for(r"(?m)upgrade refused, nothing changes: .*(.|\n)*" + why)
        assert server.workers() == pids
        clients.answer(20)
        assert " gen=2 " not in server.log
        installation.write(name, good)
        if impatient:
            server.configure({"workers": 2})
            server.reload()
        upgrade(server)
    assert clients.losses == []
    eventually(lambda: kinds_of(server.pid) == before, "the same fds as before")


def test_a_version_that_can_not_make_a_master_of_it_changes_nothing(
    serve: Serve, installation: Installation
) -> None:
    server = serve(APP, workers=1, environ=installation.environ)
    before = "    parts.lending.take_over(state.lending, books)\n"
    installation.change("master/succession.py", before, "    raise RuntimeError('on purpose')\n")
    server.send(signal.SIGUSR2)
    server.wait_for(r"upgrade refused, nothing changes: (.|\n)*RuntimeError: on purpose")
    upgrade_after_all(server, installation)


def upgrade_after_all(server: Server, installation: Installation) -> None:
    with server.client() as client:
        assert client.ask("/who").text.split()[1] == "1"
    shutil.rmtree(installation.package)
    shutil.copytree(ROOT / "prefork", installation.package)
    upgrade(server)


def test_a_version_that_hands_over_otherwise_refuses(
    serve: Serve, installation: Installation
) -> None:
    server = serve(APP, workers=1, environ=installation.environ)
    installation.change("master/handover.py", "\nVERSION = ", "\nVERSION = 1000 + ")
    server.send(signal.SIGUSR2)
    server.wait_for(r"upgrade refused, nothing changes: (.|\n)*this needs a restart")
    upgrade_after_all(server, installation)


def test_a_version_that_knows_nothing_of_upgrades_refuses(
    serve: Serve, installation: Installation
) -> None:
    server = serve(APP, workers=1, environ=installation.environ)
    installation.change("cli.py", "Inheritance.of(os.environ)", "None")
    server.send(signal.SIGUSR2)
    server.wait_for(r"upgrade refused, nothing changes: (.|\n)*there is no such setting")
    upgrade_after_all(server, installation)


def test_broken_settings_change_nothing(serve: Serve) -> None:
    server = serve(APP, workers=1)
    pids, good = server.workers(), server.config.read_text()
    for broken in ("workers = [", "wrokers = 3", "workers = 'many'", "user = 'n o'"):
        server.config.write_text(f"{broken}\n")
        since = server.mark()
        server.send(signal.SIGUSR2)
        server.wait_for(r"upgrade refused, nothing changes: .*\n.*conf.toml:\d+: ", since)
        assert server.workers() == pids
    server.config.write_text(good)
    upgrade(server)


def test_an_upgrade_takes_new_settings(serve: Serve) -> None:
    server = serve(APP, workers=1)
    server.configure({"workers": 3, "env": {"COLOUR": "green"}})
    upgrade(server)
    assert set(server.workers()) == {1, 2, 3}
    with server.client() as client:
        assert client.ask("/environ?COLOUR").text == "green"


def test_a_broken_app_aborts_the_reload_that_follows_and_the_old_workers_serve_on(
    serve: Serve, tmp_path: Path
) -> None:
    module = tmp_path / "deployed.py"
    module.write_text("from tests.apps.mix import app\n")
    server = serve("deployed:app", workers=2)
    pids = server.workers()
    with Load(server.client, MIX, clients=12) as clients:
        module.write_text("raise RuntimeError('broken on purpose')\n")
        server.send(signal.SIGUSR2)
        server.wait_for("reload to generation 2 aborted")
        assert server.workers() == pids
        clients.answer(50)
        module.write_text("from tests.apps.mix import app\n# mended\n")
        os.utime(module, (time.time() + 5,) * 2)  # Python compares seconds
        server.reload()
    assert clients.losses == []
    assert set(server.workers()) == {1, 2}


def test_a_link_that_was_moved_to_another_release_is_followed(tmp_path: Path) -> None:
    releases = [Installation(tmp_path / name) for name in ("one", "two")]
    releases[1].change("__init__.py", f'"{__version__}"', '"99.0"')
    current = tmp_path / "current"
    current.symlink_to("one")
    # The module `prefork` comes from the directory in which the command is given.
    with running("prefork.demo:app", current, workers=1) as server:
        for name in ("conf.toml", "error.log"):
            (tmp_path / "two" / name).hardlink_to(tmp_path / "one" / name)
        current.unlink()
        current.symlink_to("two")
        upgrade(server)
        assert "taken over by prefork 99.0 " in server.log


# One thing at a time.


def test_an_upgrade_during_a_reload_comes_after_it(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "boots.py").write_text(
        "import os, time\n"
        "while os.path.exists('wait'): time.sleep(0.01)\n"
        "from tests.apps.mix import app\n"
    )
    server = serve("boots:app", workers=1)
    (tmp_path / "wait").touch()
    server.send(signal.SIGHUP)
    server.wait_for(r"gen=2 pid=\d+ spawned")
    server.send(signal.SIGUSR2)
    server.wait_for("SIGUSR2 received")
    (tmp_path / "wait").unlink()
    server.wait_for("reload to generation 3 done")
    what = r"upgrade begun|taken over|reload to generation \d (?:begun|done)"
    assert re.findall(what, server.log) == [
        "reload to generation 2 begun",
        "reload to generation 2 done",
        "upgrade begun",
        "taken over",
        "reload to generation 3 begun",
        "reload to generation 3 done",
    ]


def test_two_upgrades_at_once_are_one(serve: Serve) -> None:
    server = serve(APP, workers=1)
    server.send(signal.SIGSTOP)
    server.send(signal.SIGUSR2)
    server.send(signal.SIGUSR2)
    server.send(signal.SIGCONT)
    server.wait_for("reload to generation 2 done")
    server.send(signal.SIGUSR1)
    server.wait_for("logs reopened")
    assert server.log.count("taken over") == 1


def test_what_is_installed_while_an_upgrade_is_rehearsed_is_rehearsed_too(
    serve: Serve, installation: Installation
) -> None:
    server = serve(APP, workers=1, environ=installation.environ)
    installation.hold("rehearsal")
    server.send(signal.SIGUSR2)
    installation.held("rehearsal")
    since = server.mark()
    server.send(signal.SIGUSR2)
    server.wait_for("SIGUSR2 received", since)
    installation.put_first("cli.py", "raise RuntimeError('broken on purpose')\n")
    installation.release("rehearsal")
    server.wait_for(r"upgrade refused, nothing changes: (.|\n)*RuntimeError: broken on purpose")
    assert "taken over" not in server.log
    with server.client() as client:
        fast(client)


def test_a_reload_that_is_asked_for_during_a_rehearsal_comes_even_if_that_fails(
    serve: Serve, installation: Installation
) -> None:
    server = serve(APP, workers=1, environ=installation.environ)
    installation.put_first("cli.py", "import sys\nsys.exit('gave up')\n")
    installation.hold("rehearsal")
    server.send(signal.SIGUSR2)
    installation.held("rehearsal")
    server.send(signal.SIGHUP)
    server.wait_for("SIGHUP received")
    installation.release("rehearsal")
    server.wait_for("upgrade refused")
    server.wait_for("reload to generation 2 done")


def test_a_rehearsal_has_nothing_of_the_clients_nor_of_the_workers(
    serve: Serve, installation: Installation
) -> None:
    """So none of them waits for it to let go."""
    server = serve(APP, workers=2, environ=installation.environ)
    clients = [server.client() for _ in range(5)]
    for client in clients:
        client.ask("/")
    installation.hold("rehearsal")
    server.send(signal.SIGUSR2)
    rehearsal = installation.held("rehearsal")
    sockets = {what for what in fds(server.pid).values() if what.startswith("socket:")}
    assert len(sockets) >= 5 + 2 + 1
    assert not sockets & set(fds(rehearsal).values())
    # A worker that dies meanwhile is replaced as ever.
    os.kill(server.workers()[2], signal.SIGKILL)
    server.wait_for(r"worker=2 gen=1 pid=\d+ ready(.|\n)*worker=2 gen=1 pid=\d+ ready")
    installation.release("rehearsal")
    server.wait_for("reload to generation 2 done")
    for client in clients:
        fast(client)


def test_a_stop_ends_a_rehearsal(serve: Serve, installation: Installation) -> None:
    server = serve(APP, workers=2, environ=installation.environ)
    installation.hold("rehearsal")
    server.send(signal.SIGUSR2)
    rehearsal = installation.held("rehearsal")
    assert server.stop() == 0
    eventually(lambda: not alive(rehearsal), "the rehearsal to be gone")
    assert server.log.rstrip().endswith("stopped")


def test_a_stop_that_comes_while_the_program_is_executed_is_obeyed_by_the_new_one(
    serve: Serve, installation: Installation
) -> None:
    server = serve(APP, workers=2, environ=installation.environ)
    pids = list(server.workers().values())
    with server.client() as client:
        fast(client)
        installation.hold("takeover")
        server.send(signal.SIGUSR2)
        assert installation.held("takeover") == server.pid
        server.send(signal.SIGTERM)
        installation.release("takeover")
        assert server.wait() == 0
        assert client.sock.recv(1) == b""
    eventually(lambda: not any(alive(pid) for pid in pids), "the workers to be gone")
    assert "taken over" in server.log


def test_a_worker_that_dies_while_the_program_is_executed_is_buried_and_replaced(
    serve: Serve, installation: Installation, tmp_path: Path
) -> None:
    server = serve(APP, workers=2, environ=installation.environ)
    idle = [server.client() for _ in range(8)]
    for client in idle:
        fast(client)
    with server.client() as client:
        victim = int(client.ask("/pid").text)
        client.request("GET", f"/hold?{tmp_path / 'held'}")
        eventually((tmp_path / "held").exists, "the request to run")
        installation.hold("takeover")
        server.send(signal.SIGUSR2)
        installation.held("takeover")
        os.kill(victim, signal.SIGKILL)
        installation.release("takeover")
        assert client.getresponse().status == 502
    server.wait_for(rf"pid={victim} was killed by SIGKILL")
    server.wait_for("reload to generation 2 done")
    assert set(server.workers()) == {1, 2}
    for client in idle:
        sock = client.sock
        fast(client)
        assert client.sock is sock


def test_clients_that_connect_while_the_program_is_executed_are_served(
    serve: Serve, installation: Installation
) -> None:
    server = serve(APP, workers=1, environ=installation.environ)
    with server.client() as old, server.client() as new:
        fast(old)
        installation.hold("takeover")
        server.send(signal.SIGUSR2)
        installation.held("takeover")
        fast(old)  # the worker has it, and needs no master
        new.request("GET", "/")
        installation.release("takeover")
        assert new.getresponse().status == 200


def test_there_is_no_upgrade_during_a_start(start: Serve, tmp_path: Path) -> None:
    (tmp_path / "boots.py").write_text(
        "import os, time\n"
        "while not os.path.exists('go'): time.sleep(0.01)\n"
        "from tests.apps.mix import app\n"
    )
    server = start("boots:app", workers=1)
    server.wait_for("spawned")
    server.send(signal.SIGUSR2)
    server.wait_for("no upgrade: ")
    (tmp_path / "go").touch()
    server.started()
    upgrade(server)


def test_there_is_no_upgrade_when_the_service_is_about_to_stop(serve: Serve) -> None:
    server = serve(APP, workers=1, drain_delay=600.0)
    server.send(signal.SIGTERM)
    server.wait_for("the service goes on for 600 s")
    server.send(signal.SIGUSR2)
    server.wait_for("no upgrade: ")
    assert server.stop() == 0
    assert "upgrade begun" not in server.log


# Afterwards all is as before.


def test_signals_mean_the_same_after_an_upgrade(serve: Serve) -> None:
    server = serve(APP, workers=2)
    upgrade(server)
    with Load(server.client, [fast], clients=8) as clients:
        second = server.workers()[2]
        os.kill(second, signal.SIGTERM)
        server.wait_for(f"pid={second} exited with status 0")
        server.send(signal.SIGTTIN)
        eventually(lambda: set(server.workers()) == {1, 2, 3}, "a third worker")
        os.kill(server.workers()[3], signal.SIGKILL)
        server.wait_for("worker=3 gen=2 pid=[0-9]+ was killed by SIGKILL")
        server.reload()
        assert set(server.workers()) == {1, 2, 3}
        server.send(signal.SIGTTOU)
        eventually(lambda: len(children(server.pid)) == 2, "two workers")
    assert len(clients.losses) <= 1, "the one that the killed worker was in"
    assert server.stop() == 0


def test_workers_that_signals_have_made_stay(serve: Serve) -> None:
    server = serve(APP, workers=1)
    server.send(signal.SIGTTIN)
    eventually(lambda: set(server.workers()) == {1, 2}, "a second worker")
    upgrade(server)
    assert set(server.workers()) == {1, 2}


def test_a_worker_that_is_stopped_meanwhile_goes_on(
    serve: Serve, installation: Installation
) -> None:
    server = serve(APP, workers=2, environ=installation.environ)
    stopped = server.workers()[2]
    os.kill(stopped, signal.SIGSTOP)
    server.wait_for(f"pid={stopped} was stopped")
    installation.hold("takeover")
    server.send(signal.SIGUSR2)
    installation.held("takeover")
    os.kill(stopped, signal.SIGCONT)
    installation.release("takeover")
    server.wait_for(f"pid={stopped} goes on")
    server.wait_for(f"pid={stopped} exited with status 0")
    server.wait_for("reload to generation 2 done")


def test_log_files_stay_and_can_be_reopened(serve: Serve, tmp_path: Path) -> None:
    # Where the tests look for it anyway.
    server = serve(APP, workers=1, error_log="error.log", access_log="access.log")
    log, rotated, access = (tmp_path / name for name in ("error.log", "error.1", "access.log"))
    port = server.port
    log.rename(rotated)
    server.send(signal.SIGUSR2)
    eventually(lambda: "reload to generation 2 done" in rotated.read_text(), "the upgrade")
    assert not log.exists()
    server.send(signal.SIGUSR1)
    eventually(lambda: log.exists() and "logs reopened" in log.read_text(), "a new log")
    with Client(port, PATIENCE) as client:
        fast(client)
    eventually(lambda: "GET / " in access.read_text(), "a line of the access log")
