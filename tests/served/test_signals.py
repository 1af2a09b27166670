"""Signals to the master, to a worker and to all at once; and every way in which it can end."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import socket
import struct
import termios
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support.clients import Client, Load, read_all
from tests.support.command import launched
from tests.support.modes import Mode
from tests.support.server import PATIENCE, Server, alive, children, eventually, state

APP = "tests.apps.probe:app"
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Held:
    """A request that the app executes until it is released."""

    def __init__(self, server: Server, name: str = "one", client: Client | None = None) -> None:
        self._directory = server.directory
        self._name = name
        self.client = client or server.client()
        self.client.request("GET", f"/hold?{name}")
        eventually((self._directory / f"{name}.begun").exists, "the request to be executed")

    def release(self) -> None:
        (self._directory / f"{self._name}.go").touch()

    def answer(self) -> tuple[int, bytes]:
        response = self.client.getresponse()
        return response.status, response.read()


def ask(client: Client) -> None:
    assert client.ask("/").status == 200


def slots_of(server: Server, clients: list[Client]) -> dict[int, Client]:
    """A client by the slot of each worker that serves one of them."""
    found = {int(client.ask("/").text.split()[0]): client for client in clients}
    assert set(found) == set(server.workers())
    return found


def tell(server: Server, *numbers: signal.Signals) -> None:
    """Send signals one after the other: the kernel may join two that are alike."""
    for number in numbers:
        since = server.mark()
        server.send(number)
        server.wait_for(f"{number.name} received", since)


def gone(pids: list[int]) -> None:
    eventually(lambda: not any(alive(pid) for pid in pids), f"{pids} to be gone")


def refused(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) != 0


# The ends of an idle server.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_stop_ends_all_processes(serve: Serve, number: signal.Signals) -> None:
    server = serve(APP, workers=2)
    pids, port = children(server.pid), server.port
    with server.client() as idle:
        ask(idle)
        assert server.stop(number) == 0
        assert idle.sock.recv(1) == b""
    gone(pids)
    assert refused(port)
    assert server.log.rstrip().endswith("stopped")
    assert "Traceback" not in server.log
    # A quick stop kills what is not quick, as on a busy machine.
    if number is signal.SIGTERM:
        assert len(re.findall(r"worker=\d gen=1 pid=\d+ exited with status 0", server.log)) == 2
        assert "ERROR" not in server.log


# More and fewer.


def test_ttin_adds_a_worker_and_ttou_takes_one_away_but_never_the_last(serve: Serve) -> None:
    server = serve(APP, workers=1)
    first = server.workers()
    server.send(signal.SIGTTIN)
    eventually(lambda: set(server.workers()) == {1, 2}, "a second worker")
    assert server.workers()[1] == first[1]
    tell(server, signal.SIGTTOU, signal.SIGTTOU, signal.SIGTTOU)
    eventually(lambda: len(children(server.pid)) == 1, "one worker")
    assert server.workers() == first
    with server.client() as client:
        ask(client)


def test_a_reload_keeps_the_number_of_workers_that_signals_have_made(serve: Serve) -> None:
    server = serve(APP, workers=1)
    tell(server, signal.SIGTTIN, signal.SIGTTIN)
    eventually(lambda: set(server.workers()) == {1, 2, 3}, "three workers")
    server.reload()
    assert set(server.workers()) == {1, 2, 3}
    server.send(signal.SIGTTOU)
    eventually(lambda: len(children(server.pid)) == 2, "two workers")
    server.reload()
    assert set(server.workers()) == {1, 2}


def test_a_worker_less_loses_no_request(serve: Serve) -> None:
    server = serve(APP, workers=3)
    with Load(server.client, [ask], clients=12) as clients:
        clients.answer(50)
        tell(server, signal.SIGTTOU, signal.SIGTTOU)
        eventually(lambda: len(children(server.pid)) == 1, "one worker")
        clients.answer(50)
    assert clients.losses == []


def test_a_worker_less_while_it_boots_completes_the_start(start: Serve, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import time\nfrom setproctitle import getproctitle\n"
        "if 'worker 2' in getproctitle(): time.sleep(3600)\n"
        "from tests.apps.probe import app\n"
    )
    server = start("slow:app", workers=2)
    server.wait_for(r"worker=1 gen=1 pid=\d+ ready")
    server.send(signal.SIGTTOU)
    server.started()
    server.reload()
    assert set(server.workers()) == {1}


# Retire all.


def test_winch_retires_all_workers_and_clients_wait_until_a_reload_brings_them_back(
    serve: Serve,
) -> None:
    server = serve(APP, workers=2)
    pids = list(server.workers().values())
    with server.client() as idle, server.client() as fresh, server.client() as later:
        ask(idle)
        server.send(signal.SIGWINCH)
        gone(pids)
        assert children(server.pid) == []
        # One that was idle, and two that come now.
        for client in (idle, fresh, later):
            client.request("GET", "/")
        server.send(signal.SIGHUP)
        for client in (idle, fresh, later):
            assert client.getresponse().read().split()[1] == b"2"
    eventually(lambda: set(server.workers()) == {1, 2}, "two workers")


def test_winch_lets_requests_in_flight_end(serve: Serve) -> None:
    server = serve(APP, workers=1)
    held = Held(server)
    since = server.mark()
    server.send(signal.SIGWINCH)
    server.wait_for("worker=1 gen=1 pid=[0-9]+ draining", since)
    held.release()
    assert held.answer() == (200, b"held\n")
    eventually(lambda: not children(server.pid), "the worker to be gone")


def test_ttin_brings_a_worker_back_after_winch_and_ttou_none(serve: Serve) -> None:
    server = serve(APP, workers=2)
    server.send(signal.SIGWINCH)
    eventually(lambda: not children(server.pid), "the workers to be gone")
    since = server.mark()
    tell(server, signal.SIGTTOU, signal.SIGTTIN)
    eventually(lambda: list(server.workers()) == [1], "one worker")
    assert len(re.findall(r" spawned", server.log[since:])) == 1


def test_a_stop_after_winch_turns_away_those_who_wait(serve: Serve) -> None:
    server = serve(APP, workers=1)
    server.send(signal.SIGWINCH)
    eventually(lambda: not children(server.pid), "the worker to be gone")
    with server.client() as client:
        client.request("GET", "/")
        assert server.stop() == 0
        assert client.getresponse().status == 503


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """The two ends of a terminal: the screen's, and that of the programs that run in it."""
    screen, inside = os.openpty()
    yield screen, inside
    for fd in (screen, inside):
        with contextlib.suppress(OSError):
            os.close(fd)


def resize(fd: int) -> None:
    rows, columns = struct.unpack("HHHH", fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(8)))[:2]
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows + 1, columns + 1, 0, 0))


def test_resizing_the_terminal_in_which_it_runs_retires_nobody(
    tmp_path: Path, terminal: tuple[int, int]
) -> None:
    """The kernel tells every process in a terminal's foreground of a new size by SIGWINCH."""
    screen, inside = terminal
    with launched(
        tmp_path,
        *(APP, "-b", "127.0.0.1:0", "-w", "2"),
        stdin=inside,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    ) as server:
        pids = server.started().workers()
        resize(screen)
        # What comes later, by the same way, is done after it.
        server.send(signal.SIGTTIN)
        eventually(lambda: 3 in server.workers(), "a third worker")
        assert {slot: pid for slot, pid in server.workers().items() if slot < 3} == pids


def test_ctrl_c_in_the_terminal_in_which_it_runs_stops_it(
    tmp_path: Path, terminal: tuple[int, int]
) -> None:
    screen, inside = terminal
    with launched(
        tmp_path,
        *(APP, "-b", "127.0.0.1:0", "-w", "2"),
        stdin=inside,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    ) as server:
        pids = list(server.started().workers().values())
        os.write(screen, b"\x03")
        assert server.wait() == 0
        gone(pids)
        assert "Traceback" not in server.log


# To one worker.


def test_term_to_a_worker_has_it_replaced_first_and_touches_no_other(serve: Serve) -> None:
    server = serve(APP, workers=3)
    before = server.workers()
    clients = [server.client() for _ in range(6)]
    slots_of(server, clients)
    since = server.mark()
    with Load(server.client, [ask], clients=8) as load:
        os.kill(before[2], signal.SIGTERM)
        server.wait_for(rf"worker=2 gen=1 pid={before[2]} exited", since)
        load.answer(20)
    assert load.losses == []
    events = re.findall(
        r"worker=(\d) gen=1 pid=\d+ (spawned|ready|draining|exited)", server.log[since:]
    )
    assert events == [("2", event) for event in ("spawned", "ready", "draining", "exited")]
    after = server.workers()
    assert (after[1], after[3]) == (before[1], before[3])
    assert after[2] != before[2]
    for client in clients:
        sock = client.sock
        ask(client)
        assert client.sock is sock


def test_term_to_a_worker_lets_its_request_end(serve: Serve) -> None:
    server = serve(APP, workers=1)
    pid = server.workers()[1]
    held = Held(server)
    since = server.mark()
    os.kill(pid, signal.SIGTERM)
    # It hears of it when the app returns.
    held.release()
    assert held.answer() == (200, b"held\n")
    server.wait_for(rf"worker=1 gen=1 pid={pid} exited with status 0", since)
    assert server.workers()[1] != pid


@pytest.mark.parametrize("number", ["HUP", "INT", "QUIT", "USR1", "USR2", "WINCH"])
def test_what_is_meant_for_the_master_means_nothing_to_a_worker(serve: Serve, number: str) -> None:
    server = serve(APP, workers=2)
    before = server.workers()
    os.kill(before[2], getattr(signal, f"SIG{number}"))
    # The worker goes round its loop often enough to have seen it.
    clients = [server.client() for _ in range(4)]
    for client in clients * 5:
        ask(client)
    since = server.mark()
    server.send(signal.SIGTTIN)
    server.wait_for(r"worker=3 gen=1 pid=\d+ ready", since)
    assert {slot: pid for slot, pid in server.workers().items() if slot < 3} == before
    assert "replaced" not in server.log


def test_a_worker_that_is_killed_is_replaced_and_costs_only_its_request(serve: Serve) -> None:
    server = serve(APP, workers=2)
    clients = [server.client() for _ in range(6)]
    idle = {client: client.ask("/").text.split()[0] for client in clients}
    before = server.workers()
    victim = next(client for client, slot in idle.items() if slot == "1")
    held = Held(server, "victim", victim)
    other = Held(server, "other", next(client for client, slot in idle.items() if slot == "2"))
    since = server.mark()
    os.kill(before[1], signal.SIGKILL)
    status, body = held.answer()
    assert (status, body) == (502, b"")
    server.wait_for(r"ERROR .*worker=1 gen=1 pid=\d+ was killed by SIGKILL", since)
    server.wait_for(r"worker=1 gen=1 pid=\d+ ready", since)
    other.release()
    assert other.answer() == (200, b"held\n")
    for client in clients:
        if client is not victim:
            sock = client.sock
            ask(client)
            assert client.sock is sock, "an idle connection was lost"
    after = server.workers()
    assert after[2] == before[2]
    assert after[1] != before[1]


def test_a_request_that_kills_its_worker_gets_502_and_the_next_one_is_served(serve: Serve) -> None:
    server = serve(APP, workers=1)
    with server.client() as client:
        assert client.ask("/die").status == 502
        assert client.ask("/").status == 200


def stamps(lines: list[str]) -> list[float]:
    return [datetime.strptime(line[:23], "%Y-%m-%dT%H:%M:%S.%f").timestamp() for line in lines]


def test_a_worker_that_fails_again_and_again_waits_longer_each_time_while_others_serve(
    serve: Serve, tmp_path: Path
) -> None:
    (tmp_path / "fragile.py").write_text(
        "import os\nassert not os.path.exists('broken')\nfrom tests.apps.probe import app\n"
    )
    server = serve("fragile:app", workers=2)
    other = server.workers()[2]
    (tmp_path / "broken").touch()
    since = server.mark()
    os.kill(server.workers()[1], signal.SIGKILL)  # while it has no request to lose
    with Load(server.client, [ask], clients=4) as load:
        eventually(
            lambda: len(re.findall("worker=1 .* spawned", server.log[since:])) >= 4, "4 attempts"
        )
        load.answer(10)
        (tmp_path / "broken").unlink()
        server.wait_for(r"worker=1 gen=1 pid=\d+ ready", since)
    assert load.losses == []
    lines = server.log[since:].splitlines()
    ends = stamps([line for line in lines if re.search("worker=1 .* (exited|killed)", line)])
    begins = stamps([line for line in lines if re.search("worker=1 .* spawned", line)])
    pauses = [begin - end for end, begin in zip(ends, begins, strict=False)]
    # How long the first pause is depends on how long the worker had lived.
    for number, pause in enumerate(pauses[1:4]):
        assert pause >= 0.1 * 2**number - 0.01, pauses
    assert server.workers()[2] == other


# To all at once.


@pytest.mark.parametrize("master_first", [True, False])
def test_term_to_every_process_answers_what_runs_and_leaves_nothing(
    serve: Serve, master_first: bool
) -> None:
    server = serve(APP, workers=3)
    pids, port = list(server.workers().values()), server.port
    idle = [server.client() for _ in range(6)]
    for client in idle:
        ask(client)
    held = Held(server)
    for pid in [server.pid, *pids] if master_first else [*pids, server.pid]:
        os.kill(pid, signal.SIGTERM)
    server.wait_for("SIGTERM received")
    held.release()
    assert held.answer() == (200, b"held\n")
    assert server.wait() == 0
    gone(pids)
    assert refused(port)
    for pid in pids:
        assert re.search(rf"pid={pid} exited with status 0", server.log)
    for client in idle:
        assert client.sock.recv(1) == b""
    assert "Traceback" not in server.log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT])
def test_a_stop_of_the_whole_group_ends_cleanly(serve: Serve, number: signal.Signals) -> None:
    server = serve(APP, workers=3)
    pids = list(server.workers().values())
    with server.client() as client:
        ask(client)
        os.killpg(server.pid, number)
        assert server.wait() == 0
    gone(pids)
    assert "Traceback" not in server.log


# In the middle of something.


def test_term_while_the_first_workers_boot_stops(start: Serve, tmp_path: Path) -> None:
    (tmp_path / "hangs.py").write_text("import time\ntime.sleep(3600)\n")
    server = start("hangs:app", workers=2, listen_timeout=600)
    server.wait_for(r"worker=2 gen=1 pid=\d+ spawned")
    pids = children(server.pid)
    assert server.stop() == 0
    gone(pids)


def test_term_to_all_while_the_first_workers_boot_stops(start: Serve, tmp_path: Path) -> None:
    (tmp_path / "hangs.py").write_text("import time\ntime.sleep(3600)\n")
    server = start("hangs:app", workers=2, listen_timeout=600)
    server.wait_for(r"worker=2 gen=1 pid=\d+ spawned")
    pids = children(server.pid)
    os.killpg(server.pid, signal.SIGTERM)
    assert server.wait() == 0
    gone(pids)


def test_hup_while_the_first_workers_boot_reloads_when_they_have(
    start: Serve, tmp_path: Path
) -> None:
    (tmp_path / "slow.py").write_text(
        "import os, time\nwhile not os.path.exists('go'): time.sleep(0.005)\n"
        "from tests.apps.probe import app\n"
    )
    server = start("slow:app", workers=2)
    server.wait_for(r"worker=2 gen=1 pid=\d+ spawned")
    server.send(signal.SIGHUP)
    server.wait_for("SIGHUP received")
    (tmp_path / "go").touch()
    server.wait_for("reload to generation 2 done")


def test_a_signal_is_obeyed_as_soon_as_the_pid_can_be_known(start: Serve, tmp_path: Path) -> None:
    server = start(APP, pidfile="pid")
    while not (tmp_path / "pid").exists():  # at once, so without a pause
        assert server.process.poll() is None
    server.send(signal.SIGHUP)
    server.wait_for("reload to generation 2 done")


def test_a_second_term_changes_nothing(serve: Serve) -> None:
    server = serve(APP, workers=2)
    held = Held(server)
    tell(server, signal.SIGTERM, signal.SIGTERM)
    held.release()
    assert held.answer() == (200, b"held\n")
    assert server.wait() == 0


def test_a_quick_stop_after_term_does_not_wait_for_kill_timeout(serve: Serve) -> None:
    server = serve(APP, workers=1, kill_timeout=600)
    held = Held(server)
    server.send(signal.SIGTERM)
    server.wait_for("worker=1 gen=1 pid=[0-9]+ draining")
    server.send(signal.SIGQUIT)
    assert held.answer() == (504, b"")
    assert server.wait() == 0


def test_signals_after_term_do_not_undo_it(serve: Serve) -> None:
    server = serve(APP, workers=2)
    held = Held(server)
    tell(server, signal.SIGTERM)
    tell(server, signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGWINCH, signal.SIGUSR1)
    held.release()
    assert held.answer() == (200, b"held\n")
    assert server.wait() == 0
    assert "gen=2" not in server.log
    assert "worker=3" not in server.log


def test_term_answers_what_waits_in_the_kernels_backlog(serve: Serve) -> None:
    server = serve(APP, workers=2)
    os.kill(server.pid, signal.SIGSTOP)
    clients = []
    for _ in range(20):
        client = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
        client.sendall(REQUEST)
        clients.append(client)
    server.send(signal.SIGTERM)
    os.kill(server.pid, signal.SIGCONT)
    for client in clients:
        assert read_all(client).startswith(b"HTTP/1.1 200 OK")
        client.close()
    assert server.wait() == 0


def test_at_a_stop_a_client_hears_of_the_end_before_the_master_does(
    serve: Serve, kind: Mode
) -> None:
    server = serve(APP, **kind.settings)
    client = server.client()
    client.ask("/")
    (worker,) = server.workers().values()
    os.kill(worker, signal.SIGSTOP)
    server.send(signal.SIGTERM)
    server.wait_for("draining")
    # It has told its worker when it waits again.
    eventually(lambda: state(server.pid) == "S", "the master to wait")
    server.send(signal.SIGSTOP)
    eventually(lambda: state(server.pid) == "T", "the master to be stopped")
    os.kill(worker, signal.SIGCONT)
    assert client.sock.recv(1) == b""
    server.send(signal.SIGCONT)
    assert server.wait() == 0


def test_term_answers_a_request_that_has_arrived_on_an_idle_connection(serve: Serve) -> None:
    server = serve(APP, workers=1)
    with server.client() as idle:
        ask(idle)
        held = Held(server)
        idle.request("GET", "/")  # waits behind the other
        server.send(signal.SIGTERM)
        server.wait_for("worker=1 gen=1 pid=[0-9]+ draining")
        held.release()
        assert held.answer() == (200, b"held\n")
        response = idle.getresponse()
        assert (response.status, response.getheader("Connection")) == (200, "close")
    assert server.wait() == 0


def test_term_lets_a_request_end_whose_body_is_still_coming(serve: Serve) -> None:
    server = serve(APP, workers=1)
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n01234")
        with server.client() as other:
            ask(other)  # so the worker has read the first half by now
        server.send(signal.SIGTERM)
        server.wait_for("worker=1 gen=1 pid=[0-9]+ draining")
        sock.sendall(b"56789")
        assert read_all(sock).startswith(b"HTTP/1.1 200 OK")
    assert server.wait() == 0


def test_a_request_beyond_kill_timeout_is_cut_at_term_and_its_stack_is_logged(serve: Serve) -> None:
    server = serve(APP, workers=2, kill_timeout=0.5)
    held = Held(server)
    server.send(signal.SIGTERM)
    assert held.answer() == (504, b"")
    assert server.wait() == 0
    log = server.log
    assert re.search(r"WARNING .*worker=\d gen=1 pid=\d+ is not done within kill_timeout", log)
    assert re.search(r'worker=\d gen=1 pid=\d+ was killed here:\n.*File "\S+/probe.py"', log, re.S)
    assert "in _hold" in log


# The master dies.


def test_when_the_master_is_killed_what_runs_is_answered_and_the_workers_go(serve: Serve) -> None:
    server = serve(APP, workers=3)
    pids, port = list(server.workers().values()), server.port
    idle = [server.client() for _ in range(6)]
    for client in idle:
        ask(client)
    held = Held(server)
    os.kill(server.pid, signal.SIGKILL)
    server.process.wait(PATIENCE)
    # While a worker still serves, nobody listens, and the port is free for another server.
    with launched(server.directory, APP, "-b", f"127.0.0.1:{port}") as later:
        eventually(lambda: later.log.count("started: ") == 2, "the second start")
        held.release()
        assert held.answer() == (200, b"held\n")
        gone(pids)
        with Client(port, PATIENCE) as client:
            assert int(client.ask("/").text.split()[2]) not in pids
    for client in idle:
        with contextlib.suppress(ConnectionResetError):
            assert client.sock.recv(1) == b""


def test_when_the_master_is_killed_a_worker_that_boots_goes_too(
    start: Serve, tmp_path: Path
) -> None:
    (tmp_path / "slow.py").write_text(
        "import os, time\nopen('begun', 'w')\n"
        "while not os.path.exists('go'): time.sleep(0.005)\nfrom tests.apps.probe import app\n"
    )
    server = start("slow:app")
    eventually((tmp_path / "begun").exists, "the import")
    pids = children(server.pid)
    os.kill(server.pid, signal.SIGKILL)
    server.process.wait(PATIENCE)
    (tmp_path / "go").touch()
    gone(pids)


def test_when_the_master_is_killed_workers_go_although_nobody_reads_their_log(
    tmp_path: Path,
) -> None:
    read, write = os.pipe()
    try:
        with launched(
            tmp_path,
            *(APP, "-b", "127.0.0.1:0", "--error-logfile", "-", "-p", "pid"),
            stderr=write,
        ) as server:
            lines = b""
            while b"started" not in lines:
                lines += os.read(read, 65536)
            pids = children(server.pid)
            os.set_blocking(write, False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(write, b"x" * 4096)
            os.set_blocking(write, True)
            os.kill(server.pid, signal.SIGKILL)
            server.process.wait(PATIENCE)
            gone(pids)
    finally:
        os.close(read)
        os.close(write)
