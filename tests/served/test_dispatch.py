"""Which worker gets which connection."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter

from tests.conftest import Serve
from tests.support.clients import raw
from tests.support.modes import Mode
from tests.support.server import Server, alive, at_rest, eventually

APP = "tests.apps.mix:app"


def slot_of_a_new_connection(server: Server) -> str:
    with server.client() as client:
        return client.ask("/who", headers={"Connection": "close"}).text.split()[0]


def test_connections_one_after_the_other_go_to_the_workers_exactly_in_turn(serve: Serve) -> None:
    server = serve(APP, workers=4)
    slots = []
    for _ in range(40):
        slots.append(slot_of_a_new_connection(server))
        # One that has answered, but is not done yet, is passed over.
        eventually(lambda: at_rest(server.workers().values()), "the workers to be done")
    first_round = slots[:4]
    assert sorted(first_round) == ["1", "2", "3", "4"]
    assert slots == first_round * 10


def test_four_thousand_short_connections_are_spread_evenly(serve: Serve, kind: Mode) -> None:
    """A worker that the machine leaves standing in a request is passed over, rightly: on a busy
    one it may take a second try to see what the server does by itself."""
    server = serve(APP, workers=4, **kind.settings)
    spread = 0.0
    for _ in range(3):
        served = served_by_slot(server, 4000, clients=16)
        spread = max(served.values()) / min(served.values())
        if spread <= 1.1:
            break
    assert spread <= 1.1


def served_by_slot(server: Server, requests: int, clients: int) -> Counter[str]:
    """How many of these requests, each on a connection of its own, each worker has served."""
    served: Counter[str] = Counter()
    request = b"GET /who HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

    def ask() -> None:
        for _ in range(requests // clients):
            slot = raw(server.port, request).rpartition(b"\r\n\r\n")[2].split()[0].decode()
            served[slot] += 1

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(served.values()) == requests
    return served


def test_two_hundred_held_connections_are_spread_evenly(serve: Serve, kind: Mode) -> None:
    server = serve(APP, workers=4, **kind.settings)
    clients = [server.client() for _ in range(200)]
    slots = Counter(client.ask("/who").text.split()[0] for client in clients)
    assert set(slots.values()) == {50}


def test_a_worker_holds_no_more_connections_than_it_may_and_none_is_refused(
    serve: Serve,
) -> None:
    server = serve(APP, workers=2, worker_connections=2)
    held = [server.client() for _ in range(4)]
    for client in held:
        client.ask("/")
    late = server.client()
    late.request("GET", "/")
    held[0].close()
    assert late.getresponse().read() == b"fast\n"


def test_a_worker_that_dies_in_the_turn_in_which_it_was_lent_to_harms_no_other(
    serve: Serve,
) -> None:
    """The master is stopped, so that it finds new connections and the death in one turn."""
    server = serve(APP, workers=3)
    for _ in range(5):
        victim = server.workers()[1]
        since = server.mark()
        server.send(signal.SIGSTOP)
        clients = [server.client() for _ in range(12)]
        for client in clients:
            client.request("GET", "/")
        os.kill(victim, signal.SIGKILL)
        eventually(lambda pid=victim: not alive(pid), "the worker to die")
        server.send(signal.SIGCONT)
        for client in clients:
            assert client.getresponse().read() == b"fast\n"
            client.close()
        server.wait_for(r"worker=1 gen=1 pid=\d+ ready", since)
    assert "error in the master" not in server.log


def test_a_worker_that_is_killed_by_a_signal_without_a_name_is_replaced(serve: Serve) -> None:
    server = serve(APP, workers=1)
    since = server.mark()
    os.kill(server.workers()[1], signal.SIGRTMIN + 3)
    server.wait_for("was killed by signal", since)
    with server.client() as client:
        assert client.ask("/").text == "fast\n"
