"""Many slow clients at once, by slowhttptest and by hand, beside one that is healthy; and a large
upload by a slow one.

`make hostile` runs this with the sizes that count: HOSTILE_CLIENTS=1000, HOSTILE_MIB=200. It prints
what it has measured; only that everybody healthy is served is asserted, as a busy machine has times
of its own.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.conftest import Serve
from tests.support.modes import Mode
from tests.support.rawhttp import Wire, request, running
from tests.support.server import Server, eventually, fds, private_memory

CLIENTS = int(os.environ.get("HOSTILE_CLIENTS", "100"))
MIB = int(os.environ.get("HOSTILE_MIB", "8"))
SAMPLE = 20 * CLIENTS

TOOL = shutil.which("slowhttptest")
needs_slowhttptest = pytest.mark.skipif(TOOL is None, reason="slowhttptest is not installed")

ATTACKS = {
    "headers": "-H -i 1 -x 16 -u /pid",
    "bodies": "-B -i 1 -x 16 -s 8192 -u /echo",
    # Each takes a few bytes of a response that the kernel does not take whole.
    "readers": "-X -w 512 -y 1024 -n 1 -z 32 -k 3 -u /large?900000",
}


@contextmanager
def attack(server: Server, name: str) -> Iterator[None]:
    """So many clients of slowhttptest, all connected."""
    assert TOOL is not None
    *options, path = ATTACKS[name].split()
    command = [TOOL, "-c", str(CLIENTS), "-r", str(CLIENTS), "-l", "60", "-p", "20", *options]
    before = len(fds(server.pid))
    with subprocess.Popen(
        [*command, server.url + path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            eventually(lambda: len(fds(server.pid)) >= before + CLIENTS * 0.9, "the attack")
            yield
        finally:
            process.kill()


def latencies(server: Server, count: int) -> list[float]:
    """The seconds that each request of a healthy client takes, in order of length."""
    taken = []
    with Wire(server.port) as wire:
        for _ in range(count):
            began = time.perf_counter()
            assert wire.get("/pid").status == 200
            taken.append(time.perf_counter() - began)
    return sorted(taken)


def p99(taken: list[float]) -> float:
    """In milliseconds."""
    return taken[len(taken) * 99 // 100] * 1000


@needs_slowhttptest
@pytest.mark.parametrize("name", ATTACKS)
def test_a_healthy_client_among_slow_ones_gets_all_of_its_answers(
    serve: Serve, kind: Mode, name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What slowhttptest itself takes of the machine is told by an attack on another server."""
    server = serve("tests.apps.contract:app", workers=2, **kind.settings)
    latencies(server, SAMPLE // 10)
    alone = p99(latencies(server, SAMPLE))
    directory = tmp_path_factory.mktemp("other")
    with running("tests.apps.contract:app", directory, workers=2, **kind.settings) as other:
        with attack(other, name):
            beside = p99(latencies(server, SAMPLE))
        with attack(server, name):
            among = p99(latencies(server, SAMPLE))
    print(
        f"\n{CLIENTS} slow {name}, {kind.kind}: p99 {alone:.3f} ms alone, {beside:.3f} ms beside "
        f"the attack, {among:.3f} ms among it: {among / beside:.2f} and {among / alone:.2f} times"
    )
    assert "ERROR" not in server.log


def test_a_large_upload_to_django_by_a_slow_client_holds_up_nobody(
    serve: Serve, kind: Mode
) -> None:
    """The worker's memory does not grow by the body, which arrives intact."""
    server = serve("tests.apps.django_site:application", workers=1, **kind.settings)
    (worker,) = server.workers().values()
    part = os.urandom(1 << 20)
    digest = hashlib.sha256()
    with Wire(server.port) as slow, Wire(server.port) as other:
        assert other.get("/").status == 200
        before = private_memory(worker)
        slow.send(request("POST", "/digest", f"Content-Length: {MIB << 20}"))
        for _ in range(MIB):
            for start in range(0, len(part), 1 << 18):
                slow.send(part[start : start + (1 << 18)])
                assert other.get("/").status == 200
            digest.update(part)
        answer = slow.response()
        grown = private_memory(worker) - before
    assert digest.hexdigest() in answer.text
    print(f"\n{MIB} MiB, {kind.kind}: the worker has grown by {grown / (1 << 20):.1f} MiB")
    assert grown < 8 << 20 or grown < (MIB << 20) / 2
