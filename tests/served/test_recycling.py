"""Recycling: a worker that has done enough is replaced, the new one first, and nobody notices."""

from __future__ import annotations

import re
from pathlib import Path

from tests.conftest import Serve
from tests.support.clients import Client, Load
from tests.support.modes import Mode
from tests.support.server import eventually

APP = "tests.apps.mix:app"


def fast(client: Client) -> None:
    assert client.ask("/").text == "fast\n"


def test_a_worker_that_has_served_max_requests_is_replaced_and_no_request_is_lost(
    serve: Serve, mode: Mode
) -> None:
    server = serve(APP, workers=2, max_requests=50, **mode.settings)
    with Load(server.client, [fast], clients=10) as load:
        eventually(lambda: server.log.count("exited with status 0") >= 4, "four to be replaced")
    assert load.losses == []
    assert re.search(
        r"worker=\d gen=1 pid=\d+ has served \d+ requests, max_requests = 50: it is replaced first",
        server.log,
    )
    assert "ERROR" not in server.log


def test_one_slot_is_replaced_at_a_time(serve: Serve) -> None:
    server = serve(APP, workers=3, max_requests=1)
    for _ in range(20):
        server.client().ask("/")
    eventually(lambda: server.log.count("exited with status 0") >= 3, "three to be replaced")
    living = 0
    for line in server.log.splitlines():
        living += (" spawned" in line) - (" exited" in line)
        assert living <= 4, server.log


def test_workers_are_not_all_replaced_after_the_same_number_of_requests(serve: Serve) -> None:
    server = serve(APP, workers=8, max_requests=1, max_requests_jitter=10000)
    for _ in range(80):
        server.client().ask("/")
    # Each has served ten: of eight that all have drawn so few there will be none.
    assert len(server.workers()) == 8
    assert server.log.count("is replaced first") < 8


def test_a_worker_that_grows_beyond_max_memory_is_replaced(
    serve: Serve, mode: Mode, tmp_path: Path
) -> None:
    (tmp_path / "grows.py").write_text(
        "import os\nkept = []\n"
        "def app(environ, start_response):\n"
        "    if environ['PATH_INFO'] == '/grow':\n"
        "        kept.append(b'x' * (256 << 20))\n"
        "    body = str(os.getpid()).encode()\n"
        "    start_response('200 OK', [('Content-Length', str(len(body)))])\n"
        "    return [body]\n"
    )
    server = serve("grows:app", workers=1, max_memory="200M", **mode.settings)
    first = server.client().ask("/grow").text
    server.wait_for(r"takes \d+\.\d MiB of memory, max_memory = 200\.0 MiB: it is replaced first")
    server.wait_for(f"pid={first} exited with status 0")
    assert server.client().ask("/").text != first


def test_a_worker_serves_on_as_long_as_its_replacement_can_not_boot(
    serve: Serve, tmp_path: Path
) -> None:
    (tmp_path / "breaks.py").write_text("from tests.apps.mix import app\n")
    server = serve("breaks:app", workers=1, max_requests=5)
    (tmp_path / "breaks.py").write_text("raise RuntimeError('broken meanwhile')\n")
    client = server.client()
    pids = {client.ask("/pid").text for _ in range(10)}
    server.wait_for(r"worker=1 has failed 2 times in a row: the next one comes in 0\.2 s")
    pids |= {client.ask("/pid").text}
    assert len(pids) == 1
    (tmp_path / "breaks.py").write_text("from tests.apps.mix import app\n# and mended\n")
    server.wait_for(f"pid={pids.pop()} exited with status 0")
    assert client.ask("/").text == "fast\n"
    server.wait_for(r"worker=1 has recovered, after \d+ failures")
