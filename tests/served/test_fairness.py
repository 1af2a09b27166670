"""No request waits behind another while a worker has room; whatever becomes of the workers."""

from __future__ import annotations

import contextlib
import os
import random
import re
import select
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support.clients import Client
from tests.support.modes import DISPATCHES, THREADS, Mode
from tests.support.rawhttp import Wire, request
from tests.support.server import (
    PATIENCE,
    ROOT,
    Server,
    alive,
    at_rest,
    eventually,
    fds,
    listening_inode,
    state,
)

APP = "tests.apps.mix:app"
# A fair share of work is that long: much more than the time in which a request is found stuck.
LATE = 0.05

ClientsOf = Callable[[Server, str, int], list[Client]]


def slot(client: Client) -> str:
    return client.ask("/who").text.split()[0]


@pytest.fixture
def clients_of() -> ClientsOf:
    """Finds so many kept connections of one worker."""
    # Those of others are kept too: a worker with few connections would be given some of these.
    kept: list[Client] = []

    def find(server: Server, wanted: str, count: int) -> list[Client]:
        found: list[Client] = []
        while len(found) < count:
            client = server.client()
            (found if slot(client) == wanted else kept).append(client)
        return found

    return find


@contextlib.contextmanager
def held(client: Client | Wire, file: Path) -> Iterator[None]:
    """For as long as this lasts the worker that has the client's connection is in one request."""
    if isinstance(client, Wire):
        client.send(request("GET", f"/hold?{file}"))
    else:
        client.request("GET", f"/hold?{file}")
    eventually(file.exists, "the request to run")
    try:
        yield
        assert file.exists()
    finally:
        file.unlink()


def assert_served(client: Client) -> None:
    assert client.getresponse().read() == b"held\n"


@pytest.mark.parametrize("dispatch", DISPATCHES)
def test_a_connection_ends_with_its_response_though_its_worker_has_begun_another_request(
    serve: Serve, tmp_path: Path, dispatch: str
) -> None:
    """Some clients read until the end of the connection."""
    server = serve(APP, workers=1, dispatch=dispatch)
    (worker,) = server.workers().values()
    with Wire(server.port) as one, Wire(server.port) as slow, Wire(server.port) as another:
        for wire in (one, slow, another):
            assert wire.get("/").status == 200
        # The worker finds all three at once, and takes them in an order of its own.
        os.kill(worker, signal.SIGSTOP)
        one.send(request("GET", "/", "Connection: close"))
        slow.send(request("GET", f"/hold?{tmp_path}/held"))
        another.send(request("GET", "/", "Connection: close"))
        os.kill(worker, signal.SIGCONT)
        eventually((tmp_path / "held").exists, "the request to run")
        ready, _, _ = select.select([one.sock, another.sock], [], [], PATIENCE)
        ending = one if one.sock in ready else another
        assert ending.response().text == "fast\n"
        ending.assert_closed()
        (tmp_path / "held").unlink()
        assert slow.response().text == "held\n"


def test_a_request_to_a_worker_in_a_long_one_is_served_by_another(
    serve: Serve, clients_of: ClientsOf, tmp_path: Path
) -> None:
    server = serve(APP, workers=2)
    slow, *others = clients_of(server, "1", 5)
    socks = [other.sock for other in others]
    with held(slow, tmp_path / "held"):
        assert {slot(other) for other in others} == {"2"}
    assert_served(slow)
    for client in (slow, *others):
        assert client.ask("/").text == "fast\n"
    assert [other.sock for other in others] == socks


def test_requests_that_came_with_a_long_one_are_served_by_another(
    serve: Serve, clients_of: ClientsOf, tmp_path: Path
) -> None:
    """The worker is stopped, so that it finds them all in one turn of its loop."""
    server = serve(APP, workers=2)
    clients = clients_of(server, "1", 5)
    pid = server.workers()[1]
    file = tmp_path / "held"
    os.kill(pid, signal.SIGSTOP)
    slow = clients.pop(2)
    for client in clients[:2]:
        client.request("GET", "/")
    slow.request("GET", f"/hold?{file}")
    for client in clients[2:]:
        client.request("GET", "/")
    os.kill(pid, signal.SIGCONT)
    for client in clients:
        assert client.getresponse().read() == b"fast\n"
    eventually(file.exists, "the long request to run")
    file.unlink()
    assert_served(slow)


def test_connections_that_a_worker_has_not_received_yet_are_served_by_another(
    serve: Serve, clients_of: ClientsOf, tmp_path: Path
) -> None:
    """The worker is stopped when they are lent to it, and then finds a long request as well."""
    server = serve(APP, workers=2)
    (slow,) = clients_of(server, "1", 1)
    pid = server.workers()[1]
    file = tmp_path / "held"
    os.kill(pid, signal.SIGSTOP)
    slow.request("GET", f"/hold?{file}")
    late = [server.client() for _ in range(8)]
    for client in late:
        client.request("GET", "/who")
    os.kill(pid, signal.SIGCONT)
    slots = [client.getresponse().read().split()[0] for client in late]
    assert slots.count(b"2") >= 4
    eventually(file.exists, "the long request to run")
    file.unlink()
    assert_served(slow)
    for client in late:
        assert client.ask("/").text == "fast\n"


def test_a_request_that_the_worker_has_read_already_stays_with_it(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve(APP, workers=2)
    file = tmp_path / "held"
    with Wire(server.port) as wire:
        mine = wire.get("/who").text
        wire.send(request("GET", f"/hold?{file}") + request("GET", "/who"))
        eventually(file.exists, "the request to run")
        with server.client() as other:
            assert other.ask("/").text == "fast\n"
        file.unlink()
        assert wire.response().text == "held\n"
        assert wire.response().text == mine


def test_when_all_workers_are_stuck_the_first_that_is_free_serves_everybody(
    serve: Serve, clients_of: ClientsOf, tmp_path: Path
) -> None:
    server = serve(APP, workers=2)
    stuck = [clients_of(server, wanted, 4) for wanted in "12"]
    with held(stuck[0][0], tmp_path / "one"):
        with held(stuck[1][0], tmp_path / "two"):
            kept = stuck[0][1:] + stuck[1][1:]
            new = [server.client() for _ in range(6)]
            for client in kept + new:
                client.request("GET", "/who")
        assert_served(stuck[1][0])
        slots = [client.getresponse().read().split()[0] for client in kept + new]
        assert set(slots) == {b"2"}
    assert_served(stuck[0][0])


def test_what_has_waited_is_not_all_given_to_the_first_worker_that_is_free(
    serve: Serve, clients_of: ClientsOf, tmp_path: Path
) -> None:
    server = serve(APP, workers=2)
    stuck = [clients_of(server, wanted, 1)[0] for wanted in "12"]
    new = [server.client() for _ in range(40)]
    with held(stuck[0], tmp_path / "one"), held(stuck[1], tmp_path / "two"):
        eventually(lambda: not accepts(server), "the master to accept no more")
        for client in new:
            client.request("GET", "/note?new,0.03")
    slots = Counter(client.getresponse().read().split()[1] for client in new)
    assert min(slots[b"1"], slots[b"2"]) >= 5, slots


def accepts(server: Server) -> bool:
    """Connect once more; whether the master still waits for new connections."""
    server.client().connect()
    listener = listening_inode(server.port)
    return any(
        what == listener and fd in waited_for(server) for fd, what in fds(server.pid).items()
    )


def waited_for(server: Server) -> set[int]:
    """The fds that the master's epoll waits for: proc(5), fdinfo."""
    infos = Path(f"/proc/{server.pid}/fdinfo").iterdir()
    return {int(fd) for info in infos for fd in re.findall(r"tfd:\s*(\d+)", info.read_text())}


def test_one_worker_keeps_its_connections_and_its_master_asleep(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve(APP, workers=1)
    slow, *others = [server.client() for _ in range(5)]
    for client in (slow, *others):
        client.ask("/")
    before = waited_for(server)
    with held(slow, tmp_path / "held"):
        for other in others:
            other.request("GET", "/")
        assert wakeups(server, 0.3) <= 2
        assert waited_for(server) == before
    for other in others:
        assert other.getresponse().read() == b"fast\n"


def test_a_master_with_nothing_but_idle_connections_is_mostly_asleep(serve: Serve) -> None:
    server = serve(APP, workers=2)
    clients = [server.client() for _ in range(20)]
    for client in clients:
        client.ask("/")
    eventually(lambda: wakeups(server, 0.5) <= 12, "the master to come to rest")


def wakeups(server: Server, seconds: float) -> int:
    """How often the master waits within this time."""
    before = switches(server.pid)
    time.sleep(seconds)
    return switches(server.pid) - before


def switches(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status, re.MULTILINE)
    assert found
    return int(found[1])


def test_a_worker_that_is_killed_with_loans_recalled_costs_only_its_request(
    serve: Serve, clients_of: ClientsOf, tmp_path: Path
) -> None:
    server = serve(APP, workers=2)
    slow, *others = clients_of(server, "1", 8)
    pid = server.workers()[1]
    since = server.mark()
    with held(slow, tmp_path / "held"):
        assert {slot(other) for other in others[:4]} == {"2"}
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not alive(pid), "the worker to die")
        assert slow.getresponse().status == 502
        assert {slot(other) for other in others} == {"2"}
    server.wait_for(r"worker=1 gen=1 pid=\d+ ready", since)
    fresh = [server.client() for _ in range(20)]
    assert Counter(slot(client) for client in fresh) == {"1": 10, "2": 10}
    for other in others:
        assert other.ask("/").text == "fast\n"
    assert "nonsense" not in server.log


def test_a_reload_takes_idle_connections_from_a_worker_that_can_not_answer(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve(APP, workers=1)
    slow, *others = [server.client() for _ in range(5)]
    for client in (slow, *others):
        client.ask("/")
    since = server.mark()
    with held(slow, tmp_path / "held"):
        server.send(signal.SIGHUP)
        server.wait_for("gen=1 pid=[0-9]+ draining", since)
        assert {other.ask("/who").text.split()[1] for other in others} == {"2"}
    assert_served(slow)
    server.wait_for("reload to generation 2 done", since)
    assert "nonsense" not in server.log


def test_a_stop_answers_what_waits_for_a_worker_that_is_free(
    serve: Serve, clients_of: ClientsOf, tmp_path: Path
) -> None:
    server = serve(APP, workers=2)
    stuck = [clients_of(server, wanted, 3) for wanted in "12"]
    new = [server.client() for _ in range(10)]
    since = server.mark()
    with held(stuck[0][0], tmp_path / "one"), held(stuck[1][0], tmp_path / "two"):
        eventually(lambda: not accepts(server), "the master to accept no more")
        clients = stuck[0][1:] + stuck[1][1:] + new
        for client in clients:
            client.request("GET", "/")
        server.send(signal.SIGTERM)
        for number in "12":
            server.wait_for(f"worker={number} gen=1 pid=[0-9]+ draining", since)
    for client in clients:
        assert client.getresponse().read() == b"fast\n"
    assert server.wait() == 0


def test_a_stop_answers_a_request_on_a_connection_that_was_taken_back(
    serve: Serve, clients_of: ClientsOf, tmp_path: Path
) -> None:
    """The master is stopped, so that it finds the request and the signal at once."""
    server = serve(APP, workers=2)
    slow, *others = clients_of(server, "1", 5)
    before = waited_for(server)
    with held(slow, tmp_path / "held"):
        eventually(
            lambda: len(waited_for(server) - before) == 4, "the connections to be taken back"
        )
        server.send(signal.SIGSTOP)
        eventually(lambda: state(server.pid) == "T", "the master to be stopped")
        for other in others[:2]:
            other.request("GET", "/")
        server.send(signal.SIGTERM)
        server.send(signal.SIGCONT)
        for other in others[:2]:
            assert other.getresponse().read() == b"fast\n"
    assert_served(slow)
    assert server.wait() == 0


def test_after_a_crash_the_new_worker_gets_its_share_of_the_kept_connections(serve: Serve) -> None:
    server = serve(APP, workers=4)
    clients = [server.client() for _ in range(80)]
    pid = server.workers()[1]
    of_the_dead = [client for client in clients if slot(client) == "1"]
    since = server.mark()
    eventually(lambda: at_rest([pid]), "it to be done with these")
    os.kill(pid, signal.SIGKILL)
    server.wait_for(f"pid={pid} was killed", since)
    assert "1" not in {slot(client) for client in of_the_dead}
    server.wait_for(r"worker=1 gen=1 pid=\d+ ready", since)

    def spread() -> bool:
        counts = Counter(slot(client) for client in clients)
        return len(counts) == 4 and max(counts.values()) / min(counts.values()) <= 1.5

    eventually(spread, "the connections to be spread evenly")


class Thinker(threading.Thread):
    """A client that asks, thinks, and asks again: on one connection, or on a new one each time.

    `waits` are how long its short requests took, in seconds.
    """

    def __init__(self, server: Server, keeps: bool, number: int, seconds: float) -> None:
        super().__init__()
        self._client = server.client()
        self._headers = {} if keeps else {"Connection": "close"}
        self._dice = random.Random(number)
        self._end = time.monotonic() + seconds
        self.keeps = keeps
        self.waits: list[float] = []

    def run(self) -> None:
        while time.monotonic() < self._end:
            time.sleep(self._dice.uniform(0.05, 0.15))
            slow = self._dice.random() < 0.05
            began = time.monotonic()
            self._client.ask("/slow?0.3" if slow else "/", headers=self._headers)
            if not slow:
                self.waits.append(time.monotonic() - began)


def test_short_requests_wait_no_more_on_kept_connections_than_on_new_ones(serve: Serve) -> None:
    """A new connection goes to a worker that is free: nothing could be fairer. Where connections
    are pinned to their workers, a fifth of the short requests waits behind a long one."""
    server = serve(APP, workers=4)
    thinkers = [Thinker(server, number % 2 == 0, number, seconds=10) for number in range(16)]
    for thinker in thinkers:
        thinker.start()
    for thinker in thinkers:
        thinker.join()
    late = {}
    for keeps in (True, False):
        waits = [wait for each in thinkers if each.keeps is keeps for wait in each.waits]
        late[keeps] = sum(wait > LATE for wait in waits) / len(waits)
    assert late[True] <= late[False] + 0.06, late


class Noter(threading.Thread):
    """A client that has its requests noted, by ids of its own; `moves` counts how often another
    worker than before has answered on the same connection."""

    def __init__(self, server: Server, number: int, requests: int) -> None:
        super().__init__()
        self._server = server
        self._name = number
        self._requests = requests
        self._dice = random.Random(number)
        self.asked: list[str] = []
        self.wrong: list[str] = []
        self.moves = 0

    def run(self) -> None:
        client, before = self._server.client(), ""
        for count in range(self._requests):
            name = f"{self._name}-{count}"
            seconds = self._dice.choice(["", "", "", "0.002", "0.01", "0.08"])
            ends = self._dice.random() < 0.05
            self.asked.append(name)
            try:
                headers = {"Connection": "close"} if ends else {}
                echo, slot = client.ask(f"/note?{name},{seconds}", headers=headers).text.split()
            except Exception as error:  # noqa: BLE001  a loss, whatever it is
                self.wrong.append(f"{name}: {error!r}")
                client.close()
                client, before = self._server.client(), ""
                continue
            if echo != name:
                self.wrong.append(f"{name} was answered with {echo}")
            self.moves += slot != before and before != ""
            before = "" if ends else slot


@pytest.mark.parametrize("reloads", [0, 2])
def test_every_request_is_executed_once_though_connections_move(
    serve: Serve, tmp_path: Path, reloads: int
) -> None:
    server = serve(APP, workers=4)
    clients = [Noter(server, number, requests=100) for number in range(24)]
    for client in clients:
        client.start()
    for _ in range(reloads):
        server.reload()
    for client in clients:
        client.join()
    asked = [name for client in clients for name in client.asked]
    assert [wrong for client in clients for wrong in client.wrong] == []
    assert Counter((tmp_path / "notes").read_text().split()) == Counter(asked)
    assert sum(client.moves for client in clients) > 10
    assert "nonsense" not in server.log
    assert "error in the" not in server.log


def test_no_request_is_executed_twice_though_workers_are_killed(
    serve: Serve, kind: Mode, tmp_path: Path
) -> None:
    """One that was executed when its worker died is lost, and said to be: 502 or cut."""
    server = serve(APP, workers=4, **kind.settings)
    most = {"sync": 1, "threads": THREADS, "gevent": 24}[kind.kind]
    clients = [Noter(server, number, requests=150) for number in range(24)]
    for client in clients:
        client.start()
    kills = 8  # of each slot two: those who die more often are replaced later each time
    for number in range(kills):
        time.sleep(0.2)
        eventually(lambda: len(server.workers()) == 4, "all workers to serve")
        os.kill(server.workers()[number % 4 + 1], signal.SIGKILL)
    for client in clients:
        client.join()
    noted = Counter((tmp_path / "notes").read_text().split())
    assert max(noted.values()) == 1
    asked = {name for client in clients for name in client.asked}
    wrong = {each.partition(":")[0] for client in clients for each in client.wrong}
    assert asked - wrong <= set(noted), "answered, but never executed"
    assert not [each for client in clients for each in client.wrong if "answered with" in each]
    # Each kill costs what the worker was in, and nothing else.
    assert len(wrong) <= kills * most
    assert "nonsense" not in server.log
    assert "error in the" not in server.log


def test_without_semaphores_the_service_works_and_says_once_what_it_lacks(
    start: Serve, clients_of: ClientsOf, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import _multiprocessing, errno\n"
        "class Missing(_multiprocessing.SemLock):\n"
        "    def __new__(cls, *arguments):\n"
        "        raise OSError(errno.ENOSYS, 'no semaphores')\n"
        "_multiprocessing.SemLock = Missing\n"
    )
    server = start(APP, workers=2, environ={"PYTHONPATH": f"{tmp_path}:{ROOT}"}).started()
    slow, *others = clients_of(server, "1", 3)
    with held(slow, tmp_path / "held"):
        for other in others:
            other.request("GET", "/")
        with server.client() as new:
            assert new.ask("/").text == "fast\n"
    for other in others:
        assert other.getresponse().read() == b"fast\n"
    assert server.log.count("no semaphores") == 1
