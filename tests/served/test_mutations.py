"""Random and mutated requests, a connection each: no worker dies, none grows, and all goes on.

`make mutations` sends a million to every kind of worker: MUTATIONS=1000000.
"""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

from tests.conftest import Serve
from tests.corpus import CASES
from tests.support.modes import Mode
from tests.support.rawhttp import Wire
from tests.support.server import PATIENCE, ROOT, Server, private_memory

MUTATIONS = int(os.environ.get("MUTATIONS", "1500"))
SENDERS = 2
# What a worker may grow by, in bytes, from the first hundredth of them on.
GROWTH = 8 << 20

SEEDS = [case.data for cases in CASES.values() for case in cases]
WORDS = [b"\r\n", b"\r\n\r\n", b"\0", b" ", b":", b"chunked", b"0\r\n\r\n"]


def mutants(seed: int, count: int) -> Iterator[bytes]:
    """So many requests; the same ones for the same seed."""
    chance = random.Random(seed)
    for _ in range(count):
        data = bytearray(chance.choice(SEEDS))
        for _ in range(chance.randrange(4)):
            at = chance.randrange(len(data) + 1)
            deed = chance.randrange(5)
            if deed == 0:
                data[at:at] = chance.choice(WORDS)
            elif deed == 1:
                del data[at : at + chance.randrange(1, 20)]
            elif deed == 2:
                data[at : at + 1] = bytes([chance.randrange(256)])
            elif deed == 3:
                data[at:at] = chance.choice(SEEDS)
            else:
                data[at:at] = chance.randbytes(chance.randrange(1, 40))
        yield bytes(data)


def send(port: int, seed: int, count: int) -> None:
    """Send them, one after the other, and wait each time until the server ends the connection."""
    for data in mutants(seed, count):
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
            try:
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)
                while client.recv(65536):
                    pass
            except ConnectionError:
                pass  # it was refused before it had ended


def attack(server: Server, first: int, count: int) -> None:
    """Have processes of their own send them, as many at a time as there are."""
    code = "import sys; from tests.served.test_mutations import send; send(*map(int, sys.argv[1:]))"
    senders = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(server.port), str(first + number), str(count)],
            cwd=ROOT,
        )
        for number in range(SENDERS)
    ]
    assert [sender.wait() for sender in senders] == [0] * SENDERS


def test_no_worker_dies_or_grows_by_whatever_is_sent(serve: Serve, kind: Mode) -> None:
    server = serve("tests.apps.corpus:app", workers=1, **kind.settings)
    workers = server.workers()
    (pid,) = workers.values()
    attack(server, 1000, max(MUTATIONS // 100, 300) // SENDERS)
    before, began = private_memory(pid), time.monotonic()
    attack(server, 0, MUTATIONS // SENDERS)
    seconds, grown = time.monotonic() - began, private_memory(pid) - before
    print(
        f"\n{MUTATIONS} requests to {kind.kind} in {seconds:.0f} s: "
        f"the worker has grown by {grown / (1 << 20):.2f} MiB"
    )
    assert server.workers() == workers
    assert "Traceback" not in server.log
    assert "ERROR" not in server.log
    assert grown < GROWTH
    with Wire(server.port) as wire:
        wire.assert_open()


def test_the_same_seed_makes_the_same_requests() -> None:
    assert list(mutants(1, 50)) == list(mutants(1, 50))
    assert list(mutants(1, 50)) != list(mutants(2, 50))
