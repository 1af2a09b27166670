"""`request_timeout`, and `timeout`: a request that takes too long costs itself, and at most its
worker, when that can be spared."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support.modes import DISPATCHES, KINDS, THREADS, Mode
from tests.support.rawhttp import Wire, request
from tests.support.server import at_rest, eventually

APP = "tests.apps.mix:app"


def test_a_request_that_takes_too_long_is_answered_504_and_its_stack_logged(
    serve: Serve, mode: Mode, tmp_path: Path
) -> None:
    server = serve(APP, workers=1, request_timeout=0.5, **mode.settings)
    slow = server.client()
    if mode.kind == "sync" and not mode.lends:
        with pytest.raises(ConnectionError):  # there is no master to answer
            slow.ask("/slow?600")
    else:
        answer = slow.ask("/slow?600")
        assert (answer.status, answer.headers["Connection"]) == (504, "close")
    assert "in _slow" in server.log
    assert server.client().ask("/").text == "fast\n"


@pytest.mark.parametrize("kind", ["threads", "gevent"])
def test_others_of_the_same_worker_do_not_notice(serve: Serve, kind: str) -> None:
    server = serve(APP, workers=1, request_timeout=1.0, **Mode(kind).settings)
    (worker,) = server.workers().values()
    other, slow = server.client(), server.client()
    assert other.ask("/pid").text == str(worker)
    slow.request("GET", "/slow?600")
    while "request_timeout" not in server.log and "has held thread" not in server.log:
        assert other.ask("/slow?0.01").text == "slow\n"
    assert slow.getresponse().status == 504


def test_a_gevent_worker_lives_on_and_the_app_has_its_finally(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "tidies.py").write_text(
        "import os, time, prefork\n"
        "def app(environ, start_response):\n"
        "    if environ['PATH_INFO'] == '/slow':\n"
        "        try:\n            time.sleep(600)\n"
        "        except Exception:\n            raise AssertionError('no Exception') from None\n"
        "        except prefork.RequestTimeout:\n            open('seen', 'w')\n            raise\n"
        "        finally:\n            open('tidied', 'w')\n"
        "    body = str(os.getpid()).encode()\n"
        "    start_response('200 OK', [('Content-Length', str(len(body)))])\n"
        "    return [body]\n"
    )
    server = serve("tidies:app", workers=1, worker_class="gevent", request_timeout=0.3)
    pid = server.client().ask("/").text
    assert server.client().ask("/slow").status == 504
    assert (tmp_path / "seen").exists()
    assert (tmp_path / "tidied").exists()
    assert server.client().ask("/").text == pid


@pytest.mark.parametrize("kind", ["threads", "gevent"])
@pytest.mark.parametrize("dispatch", DISPATCHES)
def test_a_response_that_has_begun_is_cut(serve: Serve, kind: str, dispatch: str) -> None:
    server = serve(
        "tests.apps.contract:app", workers=1, request_timeout=0.5, **Mode(kind, dispatch).settings
    )
    with Wire(server.port) as wire:
        wire.send(request("GET", "/gated?it"))
        wire.head()
        wire.chunk()
        wire.assert_cut()


@pytest.mark.parametrize("setting", ["timeout", "request_timeout"])
def test_a_threads_worker_that_has_lost_a_thread_is_replaced_first(
    serve: Serve, setting: str
) -> None:
    server = serve(APP, workers=1, worker_class="threads", threads=2, **{setting: 0.5})
    (worker,) = server.workers().values()
    assert server.client().ask("/slow?600").status == 504
    server.wait_for(
        f"pid={worker} has lost a thread to a request that takes too long: it is replaced first"
    )
    # Although the thread is still in it.
    server.wait_for(f"pid={worker} exited with status 0")
    assert server.client().ask("/pid").text != str(worker)


def test_a_threads_worker_that_has_lost_all_its_threads_keeps_nobody_waiting(serve: Serve) -> None:
    server = serve(APP, workers=1, worker_class="threads", threads=THREADS, request_timeout=0.5)
    slow = [server.client() for _ in range(THREADS)]
    late = server.client()
    late.ask("/")
    for client in slow:
        client.request("GET", "/slow?600")
    late.request("GET", "/")
    assert {client.getresponse().status for client in slow} == {504}
    assert late.getresponse().read() == b"fast\n"


def test_what_a_given_up_thread_sends_later_reaches_nobody(serve: Serve, tmp_path: Path) -> None:
    server = serve(APP, workers=1, worker_class="threads", threads=2, request_timeout=0.5)
    file = tmp_path / "held"
    with Wire(server.port) as wire:
        wire.send(request("GET", f"/hold?{file}"))
        assert wire.response().status == 504
        file.unlink()
        wire.assert_closed()
    assert server.client().ask("/").text == "fast\n"
    assert "error in the worker" not in server.log


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_within_its_time_is_not_touched(serve: Serve, kind: str) -> None:
    server = serve(APP, workers=1, request_timeout=30.0, **Mode(kind).settings)
    assert server.client().ask("/slow?1.5").text == "slow\n"


@pytest.mark.parametrize(
    "work",
    [
        "import re; re.match('(a+)+b', 'a' * 60)",
        # As re.match does, it keeps the interpreter's lock; and signals don't interrupt it.
        "import ctypes; c, m = ctypes.PyDLL(None), ctypes.create_string_buffer(64); "
        "c.pthread_mutex_lock(m); c.pthread_mutex_lock(m)",
    ],
    ids=["regular expression", "deadlock in C"],
)
def test_a_worker_that_hangs_in_c_is_killed_and_the_stack_names_the_line(
    serve: Serve, kind: Mode, tmp_path: Path, work: str
) -> None:
    (tmp_path / "hangs.py").write_text(
        "def get_stuck():\n"
        f"    {work}\n"
        "def app(environ, start_response):\n"
        "    if environ['PATH_INFO'] == '/hang':\n        get_stuck()\n"
        "    start_response('200 OK', [('Content-Length', '2')])\n"
        "    return [b'ok']\n"
    )
    server = serve("hangs:app", workers=1, timeout=1.0, **kind.settings)
    kept = server.client()
    assert kept.ask("/").text == "ok"
    assert server.client().ask("/hang").status == 504
    assert kept.ask("/").text == "ok"
    assert re.search(r'File ".*hangs\.py", line 2 in get_stuck', server.log)


def test_a_stopped_worker_gets_nothing_until_it_goes_on(serve: Serve, kind: Mode) -> None:
    server = serve(APP, workers=2, timeout=0.0, **kind.settings)
    pids = server.workers()
    pid = pids[1]

    os.kill(pid, signal.SIGSTOP)
    server.wait_for(f"pid={pid} was stopped by SIGSTOP: it gets nothing until it goes on")
    for _ in range(6):
        assert server.client().ask("/pid").text == str(pids[2])
    os.kill(pid, signal.SIGCONT)
    server.wait_for(f"pid={pid} goes on")
    answers = {server.client().ask("/pid").text for _ in range(6)}
    assert answers == {str(each) for each in pids.values()}


def test_a_worker_that_stays_stopped_is_killed_and_its_connections_go_on(
    serve: Serve, kind: Mode
) -> None:

    server = serve(APP, workers=2, timeout=1.0, **kind.settings)
    pids = server.workers()
    clients = [server.client() for _ in range(6)]
    for client in clients:
        client.ask("/")
    eventually(lambda: at_rest(pids.values()), "the workers to be done with these")
    os.kill(pids[1], signal.SIGSTOP)
    for client in clients:
        client.request("GET", "/")
    assert {client.getresponse().read() for client in clients} == {b"fast\n"}
    eventually(lambda: f"pid={pids[1]} was killed by SIGKILL" in server.log, "it to be killed")
