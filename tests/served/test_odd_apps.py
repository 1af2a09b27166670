"""Apps that do odd things do them to themselves: not to other requests, and not to the worker."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support.modes import Mode
from tests.support.rawhttp import Wire, request
from tests.support.server import alive, eventually

_TAIL = "    start_response('200 OK', [('Content-Length', '2')])\n    return [b'ok']\n"


def test_write_after_the_request_is_over_reaches_no_later_response(
    serve: Serve, mode: Mode, tmp_path: Path
) -> None:
    (tmp_path / "late.py").write_text(
        "import threading\n"
        "written, told = [], []\n"
        "def try_it(write):\n"
        "    try:\n        write(b'LATE')\n"
        "    except AssertionError as error:\n        told.append(str(error))\n"
        "def app(environ, start_response):\n"
        "    if environ['PATH_INFO'] == '/late':\n"
        "        try_it(written.pop())\n"
        "    elif environ['PATH_INFO'] == '/told':\n"
        "        start_response('200 OK', [('Content-Length', str(len(told[0])))])\n"
        "        return [told[0].encode()]\n"
        "    written.append(start_response('200 OK', [('Content-Length', '2')]))\n"
        "    return [b'ok']\n"
    )
    server = serve("late:app", workers=1, **mode.settings)
    kept, other = server.client(), server.client()
    assert kept.ask("/").text == "ok"
    assert other.ask("/late").text == "ok"
    assert kept.ask("/told").text == "write() was called after the request was over"


def test_a_gevent_timeout_that_is_left_running_ends_no_later_request(
    serve: Serve, tmp_path: Path
) -> None:
    (tmp_path / "leaves.py").write_text(
        "import gevent\n"
        "def app(environ, start_response):\n"
        "    if environ['PATH_INFO'] == '/leave':\n"
        "        gevent.Timeout(0.05).start()\n" + _TAIL
    )
    server = serve("leaves:app", workers=1, worker_class="gevent")
    assert server.client().ask("/leave").text == "ok"
    server.wait_for("WARNING .* thrown into a greenlet whose request was over")
    assert server.client().ask("/").text == "ok"
    assert server.stop() == 0


def test_an_error_in_a_callback_of_the_app_is_not_the_workers(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "calls.py").write_text(
        "import gevent\n"
        "def fail():\n    raise ValueError('of the app')\n"
        "def app(environ, start_response):\n"
        "    if environ['PATH_INFO'] == '/fail':\n"
        "        gevent.get_hub().loop.run_callback(fail)\n" + _TAIL
    )
    server = serve("calls:app", workers=1, worker_class="gevent")
    worker = server.workers()[1]
    client = server.client()
    assert client.ask("/fail").text == "ok"
    server.wait_for("ValueError: of the app")
    assert client.ask("/").text == "ok"
    assert server.workers() == {1: worker}


def test_an_error_of_ours_ends_the_worker_and_no_connection(
    serve: Serve, kind: Mode, tmp_path: Path
) -> None:
    """It would be deaf from then on for what the callback was."""
    (tmp_path / "breaks.py").write_text(
        "import gc\n"
        "def app(environ, start_response):\n"
        "    if environ['PATH_INFO'] == '/break':\n"
        "        from prefork.worker.worker import Worker\n"
        "        [worker] = [each for each in gc.get_objects() if isinstance(each, Worker)]\n"
        "        worker._obey = None\n" + _TAIL
    )
    server = serve("breaks:app", workers=1, **kind.settings)
    client = server.client()
    assert client.ask("/break").text == "ok"
    sock = client.sock
    lent = Wire(server.port)  # more than the worker can understand now
    lent.send(request("GET", "/"))
    server.wait_for("ERROR worker=1 .*: error in the worker")
    server.wait_for("exited with status 1")
    assert client.ask("/").text == "ok"
    assert client.sock is sock
    lent.close()


def test_a_process_that_a_gevent_app_forks_is_no_second_worker(
    serve: Serve, tmp_path: Path
) -> None:
    """With the hub it has inherited the callbacks of the worker."""
    (tmp_path / "forks.py").write_text(
        "import multiprocessing, os, time\n"
        "def app(environ, start_response):\n"
        "    body = str(os.getpid()).encode()\n"
        "    if environ['PATH_INFO'] == '/fork':\n"
        "        forking = multiprocessing.get_context('fork')\n"
        "        child = forking.Process(target=time.sleep, args=(600,))\n"
        "        child.start()\n"
        "        body = str(child.pid).encode()\n"
        "    start_response('200 OK', [('Content-Length', str(len(body)))])\n"
        "    return [body]\n"
    )
    server = serve("forks:app", workers=1, worker_class="gevent")
    worker = server.workers()[1]
    client, waiting = server.client(), server.client()
    waiting.ask("/")
    child = int(client.ask("/fork").text)
    with _stopped(worker):
        waiting.request("GET", "/")
        new = server.client()
        new.request("GET", "/")
        # The child is not stopped, and would answer at once.
        with contextlib.suppress(TimeoutError):
            new.sock.settimeout(0.5)
            new.sock.recv(1)
            raise AssertionError("another process than the worker has answered")
    assert waiting.getresponse().read().decode() == str(worker)
    # What the child is sent is not for the worker, and means what it means to any process.
    os.kill(child, signal.SIGTERM)
    eventually(lambda: not alive(child), "the child to end by SIGTERM")
    assert client.ask("/").text == str(worker)
    assert "is replaced" not in server.log


@contextlib.contextmanager
def _stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


# What reaches the master from a worker that has gone mad.

_MAD = """
import ctypes, gc, os, time
from prefork.wire import messages
def channel():
    from prefork.worker.main import Worker
    [worker] = [each for each in gc.get_objects() if isinstance(each, Worker)]
    return worker._channel._sock
deeds = {
    '/nonsense': lambda: channel().send(b'nonsense'),
    '/unknown': lambda: channel().send(messages.encode(messages.Closed([12345]))),
    '/shut': lambda: channel().shutdown(2),
    '/close': lambda: os.close(channel().fileno()),
    '/crash': lambda: ctypes.string_at(0),
}
def app(environ, start_response):
    if environ['PATH_INFO'] in deeds:
        deeds[environ['PATH_INFO']]()
        time.sleep(600)
    body = str(os.getpid()).encode()
    start_response('200 OK', [('Content-Length', str(len(body)))])
    return [body]
"""


@pytest.mark.parametrize(
    ("deed", "status", "said"),
    [
        ("nonsense", 504, "wrote nonsense on its channel"),
        ("unknown", 504, "wrote nonsense on its channel"),
        ("crash", 502, "was killed by SIGSEGV"),
    ],
)
def test_a_worker_that_goes_mad_costs_only_what_it_executes(
    serve: Serve, kind: Mode, tmp_path: Path, deed: str, status: int, said: str
) -> None:
    (tmp_path / "mad.py").write_text(_MAD)
    server = serve("mad:app", workers=2, **kind.settings)
    kept = [server.client() for _ in range(4)]
    socks = [(client.ask("/"), client.sock)[1] for client in kept]
    assert server.client().ask(f"/{deed}").status == status
    server.wait_for(said)
    assert [client.ask("/").status for client in kept] == [200] * 4
    assert [client.sock for client in kept] == socks
    assert server.stop() == 0
    assert "error in the master" not in server.log


@pytest.mark.parametrize("deed", ["shut", "close"])
def test_a_worker_that_loses_its_channel_costs_only_what_it_executes(
    serve: Serve, kind: Mode, tmp_path: Path, deed: str
) -> None:
    (tmp_path / "mad.py").write_text(_MAD)
    server = serve("mad:app", workers=1, **kind.settings)
    mad = server.workers()[1]
    kept = [server.client() for _ in range(4)]
    socks = [(client.ask("/"), client.sock)[1] for client in kept]
    # It ends itself, or is killed if it can't.
    assert server.client().ask(f"/{deed}").status in (502, 504)
    server.wait_for(rf"pid={mad} (exited with status 1|was killed by SIGKILL)")
    assert str(mad) not in [client.ask("/").text for client in kept]
    assert [client.sock for client in kept] == socks
    assert "error in the master" not in server.log
