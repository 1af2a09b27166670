"""Reloading under load: nobody notices, whatever the new code does."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from datetime import datetime
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support.clients import Load
from tests.support.mix import APP, MIX, fast
from tests.support.modes import Mode
from tests.support.server import Server, eventually, state


def load(server: Server, **options: object) -> Load:
    server.started()
    return Load(server.client, MIX, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("workers", [1, 4])
def test_five_reloads_lose_no_request_of_fifty_keep_alive_clients(
    serve: Serve, workers: int
) -> None:
    server = serve(APP, workers=workers)
    idle = [server.client() for _ in range(50)]
    for client in idle:
        client.ask("/")
    socks = [client.sock for client in idle]
    with load(server) as clients:
        for _ in range(5):
            server.reload()
            clients.answer(100)
    assert clients.losses == []
    generations = set()
    for client, sock in zip(idle, socks, strict=True):
        slot_generation_pid = client.ask("/who").text.split()
        assert client.sock is sock, "an idle connection was replaced"
        generations.add(slot_generation_pid[1])
    assert generations == {"6"}


def test_a_reload_replaces_every_worker_one_at_a_time_the_new_one_first(serve: Serve) -> None:
    server = serve(APP, workers=3)
    before = server.workers()
    since = server.mark()
    server.reload()
    events = [
        (event, int(slot))
        for slot, event in re.findall(
            r"worker=(\d) gen=\d pid=\d+ (spawned|ready|draining|exited)", server.log[since:]
        )
    ]
    expected = [
        (event, slot) for slot in (1, 2, 3) for event in ("spawned", "ready", "draining", "exited")
    ]
    assert events == expected
    assert set(server.workers()) == {1, 2, 3}
    assert not set(server.workers().values()) & set(before.values())


@pytest.mark.parametrize("workers", [1, 2])
def test_a_slow_boot_delays_no_request(serve: Serve, workers: int, tmp_path: Path) -> None:
    (tmp_path / "slowboot.py").write_text(
        "import os, time\n"
        "if os.path.exists('be-slow'): time.sleep(3)\n"
        "from tests.apps.mix import app\n"
    )
    server = serve("slowboot:app", workers=workers)
    (tmp_path / "be-slow").touch()
    with Load(server.client, [fast], clients=10) as clients:
        server.reload()
    assert clients.losses == []
    assert clients.slowest < 3 / 2, "nobody has waited for a boot"


BROKEN = {
    "raises at import": "raise RuntimeError('broken on purpose')\n",
    "syntax error": "def app(:\n",
    "imports what is not there": "import there_is_no_such_module\n",
    "exits": "import sys; sys.exit(1)\n",
    "crashes": "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)\n",
    "has no app": "application = None\ndel application\n",
    "hangs": "import time; time.sleep(3600)\n",
}


@pytest.mark.parametrize("breakage", BROKEN)
def test_a_broken_app_aborts_the_reload_and_the_next_good_one_succeeds(
    serve: Serve, tmp_path: Path, breakage: str
) -> None:
    good = "from tests.apps.mix import app\n"
    module = tmp_path / "deployed.py"
    module.write_text(good)
    server = serve("deployed:app", workers=2, listen_timeout=2)
    pids = server.workers()
    with load(server, clients=12) as clients:
        module.write_text(BROKEN[breakage])
        os.utime(module, (time.time() + 5,) * 2)  # Python compares seconds
        since = server.mark()
        server.send(signal.SIGHUP)
        server.wait_for("reload to generation 2 aborted", since)
        assert server.workers() == pids
        module.write_text(good + "# mended\n")
        server.reload()
    assert clients.losses == []
    assert set(server.workers()) == {1, 2}
    assert not set(server.workers().values()) & set(pids.values())


def test_a_broken_config_refuses_the_reload(serve: Serve) -> None:
    server = serve(APP, workers=2)
    pids = server.workers()
    good = server.config.read_text()
    with load(server, clients=12) as clients:
        for broken in ("workers = [", "wrokers = 3", "workers = 'many'"):
            server.config.write_text(broken + "\n")
            since = server.mark()
            server.send(signal.SIGHUP)
            line = server.wait_for(r"reload refused, nothing changes: .*", since)[0]
            assert re.search(r"conf.toml:\d+: ", line)
            assert server.workers() == pids
        server.config.write_text(good)
        server.reload()
    assert clients.losses == []


def test_a_reload_takes_new_settings(serve: Serve) -> None:
    server = serve(APP, workers=1)
    server.configure({"workers": 3, "env": {"COLOUR": "green"}})
    server.reload()
    assert set(server.workers()) == {1, 2, 3}
    with server.client() as client:
        assert client.ask("/environ?COLOUR").text == "green"


def test_a_new_worker_is_used_only_after_the_app_has_called_ready(
    serve: Serve, tmp_path: Path
) -> None:
    (tmp_path / "late.py").write_text(
        "import os, threading, time, prefork\n"
        "from tests.apps.mix import app\n"
        "def announce():\n"
        "    while not os.path.exists('go'): time.sleep(0.01)\n"
        "    prefork.ready()\n"
        "if os.path.exists('be-late'):\n"
        "    threading.Thread(target=announce, daemon=True).start()\n"
        "else:\n"
        "    prefork.ready()\n"
    )
    server = serve("late:app", workers=1, wait_ready=True)
    (tmp_path / "be-late").touch()
    since = server.mark()
    server.send(signal.SIGHUP)
    server.wait_for("gen=2 pid=[0-9]+ spawned", since)
    with server.client() as client:
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            assert client.ask("/who").text.split()[1] == "1"
        (tmp_path / "go").touch()
        server.wait_for("reload to generation 2 done", since)
        assert client.ask("/who").text.split()[1] == "2"


def test_an_app_that_never_calls_ready_aborts_the_reload(serve: Serve, tmp_path: Path) -> None:
    module = tmp_path / "silent.py"
    module.write_text(
        "import os, prefork\nfrom tests.apps.mix import app\n"
        "if not os.path.exists('be-silent'): prefork.ready()\n"
    )
    server = serve("silent:app", workers=1, wait_ready=True, listen_timeout=1)
    (tmp_path / "be-silent").touch()
    since = server.mark()
    server.send(signal.SIGHUP)
    server.wait_for("reload to generation 2 aborted .* not ready within listen_timeout", since)
    with server.client() as client:
        assert client.ask("/who").text.split()[1] == "1"


def test_repeated_hups_coalesce_into_one_more_reload(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "slowboot.py").write_text(
        "import time; time.sleep(0.5)\nfrom tests.apps.mix import app\n"
    )
    server = serve("slowboot:app", workers=1)
    since = server.mark()
    server.send(signal.SIGHUP)
    server.wait_for("reload to generation 2 begun", since)
    for _ in range(20):
        server.send(signal.SIGHUP)
        time.sleep(0.005)
    server.wait_for("reload to generation 3 done", since)
    # A later turn of the master: one more reload would have begun by then.
    server.send(signal.SIGUSR1)
    server.wait_for("logs reopened", since)
    assert "generation 4" not in server.log


def test_a_request_longer_than_kill_timeout_is_ended_and_its_stack_logged(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve(APP, workers=2, kill_timeout=2)
    clients = [server.client() for _ in range(4)]
    slots = [client.ask("/who").text.split()[0] for client in clients]
    assert sorted(slots) == ["1", "1", "2", "2"]
    victim = clients.pop(slots.index("1"))
    held = tmp_path / "held"
    victim.request("GET", f"/hold?{held}")
    eventually(held.exists, "the request to run")
    since = server.mark()
    server.send(signal.SIGHUP)
    drained = server.wait_for(r"(?m)^(\S+) .*worker=1 gen=1 pid=\d+ draining", since)
    assert victim.getresponse().status == 504
    killed = server.wait_for(r"(?m)^(\S+) .*worker=1 gen=1 pid=\d+ was killed by SIGKILL", since)
    assert "in _hold" in server.log[since:]
    seconds = moment(killed[1]) - moment(drained[1])
    assert 2 <= seconds < 4, "kill_timeout is 2 s, and as much again is allowed to a busy machine"
    for sibling in clients:
        sock = sibling.sock
        assert sibling.ask("/").text == "fast\n"
        assert sibling.sock is sock
    server.wait_for("reload to generation 2 done", since)


def moment(stamp: str) -> float:
    """The time at the beginning of a line of the log, in seconds."""
    return datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()


def test_a_connection_that_comes_with_the_ready_message_holds_up_no_reload(
    serve: Serve, tmp_path: Path
) -> None:
    """It is lent to the old worker in the turn in which that is told to drain."""
    (tmp_path / "boots.py").write_text(
        "import os, time\n"
        "from tests.apps.mix import app\n"
        "if os.path.exists('wait'):\n"
        "    while not os.path.exists('go'): time.sleep(0.01)\n"
        "    open('gone', 'w').close()\n"
    )
    server = serve("boots:app", workers=1, kill_timeout=5)
    (tmp_path / "wait").touch()
    with server.client() as uploading, server.client() as other:
        # Half a request keeps the old worker from leaving at once.
        uploading.putrequest("POST", "/upload")
        uploading.putheader("Content-Length", "2")
        uploading.endheaders(b"a")
        other.ask("/")  # so the half has been read
        since = server.mark()
        server.send(signal.SIGHUP)
        new = int(server.wait_for(r"gen=2 pid=(\d+) spawned", since)[1])
        # The master is stopped to find both in one turn: the worker's Ready and a connection.
        server.send(signal.SIGSTOP)
        (tmp_path / "go").touch()
        eventually((tmp_path / "gone").exists, "the app to be imported")
        eventually(lambda: state(new) == "S", "the new worker to have said Ready")
        with socket.create_connection(("127.0.0.1", server.port)):
            server.send(signal.SIGCONT)
            server.wait_for("gen=1 pid=[0-9]+ draining", since)
            uploading.send(b"b")
            assert uploading.getresponse().status == 200
            server.wait_for("reload to generation 2 done", since)
    assert "kill_timeout" not in server.log[since:]


def test_connections_are_spread_evenly_after_a_reload(serve: Serve) -> None:
    server = serve(APP, workers=4)
    clients = [server.client() for _ in range(80)]
    for client in clients:
        client.ask("/")
    server.reload()
    for client in clients:
        client.ask("/")
    slots = [client.ask("/who").text.split()[0] for client in clients]
    counts = [slots.count(slot) for slot in "1234"]
    assert max(counts) / min(counts) <= 1.5, counts


def test_term_in_the_middle_of_a_reload_stops(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "slowboot.py").write_text(
        "import os, time\nif os.path.exists('be-slow'): time.sleep(3600)\n"
        "from tests.apps.mix import app\n"
    )
    server = serve("slowboot:app", workers=2)
    (tmp_path / "be-slow").touch()
    server.send(signal.SIGHUP)
    server.wait_for("gen=2 pid=[0-9]+ spawned")
    assert server.stop() == 0


# Baking: `reload_bake`.

DIES_LATER = (
    "import os, signal, threading, time\n"
    "from tests.apps.mix import app\n"
    "def die():\n    time.sleep(0.3)\n    os.kill(os.getpid(), signal.SIGSEGV)\n"
    "threading.Thread(target=die, daemon=True).start()\n"
)


def test_a_canary_that_crashes_aborts_the_reload_and_the_old_workers_have_never_gone(
    serve: Serve, mode: Mode, tmp_path: Path
) -> None:
    (tmp_path / "bakes.py").write_text("from tests.apps.mix import app\n")
    server = serve("bakes:app", workers=2, reload_bake=600.0, **mode.settings)
    before = server.workers()
    idle = [server.client() for _ in range(10)]
    for client in idle:
        client.ask("/")
    (tmp_path / "bakes.py").write_text(DIES_LATER)
    server.send(signal.SIGHUP)
    server.wait_for(r"worker=1 gen=2 pid=\d+ bakes: the reload goes on if it serves for 600 s")
    server.wait_for(r"reload to generation 2 aborted .* worker=1 gen=2 pid=\d+ was killed by SIGS")
    assert {**server.workers()} == before
    for client in idle:
        assert client.ask("/").text == "fast\n"
    assert " draining" not in server.log


def test_each_new_worker_bakes_beside_the_old_one_and_no_request_is_lost(
    serve: Serve, mode: Mode
) -> None:
    server = serve(APP, workers=2, reload_bake=0.3, **mode.settings)
    with Load(server.client, [fast], clients=10) as load:
        server.reload()
    assert load.losses == []
    order = re.findall(r"worker=(\d) gen=(\d) pid=\d+ (bakes|draining)", server.log)
    assert order == [
        ("1", "2", "bakes"),
        ("1", "1", "draining"),
        ("2", "2", "bakes"),
        ("2", "1", "draining"),
    ]
