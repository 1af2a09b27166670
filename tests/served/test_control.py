"""`preforkctl`, against real servers: what it shows, what it does, and its exit status."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import threading
import time
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support.clients import Load
from tests.support.command import as_nobody
from tests.support.ctl import AS_NOBODY, begin, ctl, end, environ, on_a_terminal, runtime
from tests.support.mix import APP, fast, slow
from tests.support.modes import Mode
from tests.support.server import PATIENCE, Server, at_rest, eventually, fds

__all__ = ["runtime"]

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")

GOOD = "from tests.apps.mix import app\n"


@pytest.fixture
def server(serve: Serve, runtime: Path) -> Server:
    """Two workers."""
    return serve(APP, environ=environ(runtime), workers=2)


def deploy(module: Path, code: str) -> None:
    module.write_text(code)
    os.utime(module, (time.time() + 5 + len(code),) * 2)  # Python compares seconds


def control_socket(server: Server, runtime: Path) -> Path:
    return runtime / "prefork" / f"{server.pid}.sock"


# What it shows.


def test_status_tells_what_there_is(server: Server, runtime: Path) -> None:
    client = server.client()
    for _ in range(3):
        client.ask("/fast")
    (told,) = ctl(runtime, "status", "--json").objects
    assert (told["pid"], told["state"], told["generation"]) == (server.pid, "serving", 1)
    assert told["listeners"] == [server.url]
    assert (told["requests"], told["connections"]) == (3, 1)
    workers = {worker["slot"]: worker for worker in told["workers"]}
    assert {slot: worker["pid"] for slot, worker in workers.items()} == server.workers()
    assert sorted(worker["requests"] for worker in workers.values()) == [0, 3]
    assert sorted(worker["connections"] for worker in workers.values()) == [0, 1]
    assert all(worker["memory"] > 1 << 20 for worker in workers.values())
    shown = ctl(runtime, "status").out
    for text in (str(server.pid), server.url, APP, *map(str, server.workers().values())):
        assert text in shown


def test_a_worker_that_has_failed_is_told_of_with_its_error(server: Server, runtime: Path) -> None:
    os.kill(server.workers()[2], signal.SIGKILL)
    server.wait_for(r"worker=2 gen=1 pid=\d+ ready(.|\n)*worker=2 gen=1 pid=\d+ ready")
    (told,) = ctl(runtime, "status", "--json").objects
    errors = [worker["last_error"] for worker in told["workers"]]
    assert errors == ["", "was killed by SIGKILL"]


@pytest.mark.parametrize(
    "mode", [Mode("sync"), Mode("threads"), Mode("gevent")], ids=lambda mode: mode.kind
)
def test_stacks_tell_which_request_is_where(
    serve: Serve, runtime: Path, tmp_path: Path, mode: Mode
) -> None:
    server = serve(APP, environ=environ(runtime), workers=2, **mode.settings)
    held = tmp_path / "held"
    thread = threading.Thread(target=lambda: server.client().ask(f"/hold?{held}"))
    thread.start()
    eventually(held.exists, "the request to begin")
    (told,) = ctl(runtime, "status", "--json").objects
    (busy,) = [worker["slot"] for worker in told["workers"] if worker["in_flight"]]
    shown = ctl(runtime, "stacks").out
    assert f"GET /hold?{held}" in shown and "in _hold" in shown and "in no request" in shown
    assert "in _hold" in ctl(runtime, "stacks", str(busy)).out
    assert "in no request" in ctl(runtime, "stacks", str(3 - busy)).out
    assert ctl(runtime, "stacks", "7").status == 1
    top = ctl(runtime, "top", "--count", "3", "--interval", "0.1").out
    assert re.search(r"requests/s  1 in flight", top)
    assert re.search(rf"> 0\.\d s +{busy}  GET /hold\S+ +mix\.py:\d+ in _hold", top)
    (first, _second) = ctl(runtime, "top", "--count", "2", "--interval", "0.1", "--json").objects
    assert first["status"]["pid"] == server.pid
    held.unlink()
    thread.join()


@pytest.mark.parametrize("metrics", [False, True])
def test_top_tells_how_long_requests_take_while_it_looks(
    serve: Serve, runtime: Path, kind: Mode, metrics: bool
) -> None:
    more = {"metrics_bind": "127.0.0.1:0"} if metrics else {}
    server = serve(APP, environ=environ(runtime), workers=2, **kind.settings, **more)
    with Load(server.client, [slow], clients=4):
        views = ctl(runtime, "top", "--count", "5", "--interval", "1", "--json").objects
    assert views[0]["latency"] == {"p50": None, "p95": None, "p99": None}
    latency = views[-1]["latency"]
    assert 0.05 <= latency["p50"] <= latency["p95"] <= latency["p99"] < 5
    assert set(views[-1]["latency_by_pid"]) == {str(pid) for pid in server.workers().values()}
    assert sum(map(sum, views[-1]["status"]["durations"].values())) > 4
    assert server.stop() == 0


def test_requests_are_counted_while_somebody_looks_and_not_before(
    serve: Serve, runtime: Path
) -> None:
    client = serve(APP, environ=environ(runtime), workers=1).client()
    client.ask("/")
    looking = begin(runtime, "top", "--json", "--interval", "0.2")
    assert looking.stdout is not None
    assert counted(looking.stdout.readline()) == 0
    eventually(
        lambda: client.ask("/").status == 200 and counted(looking.stdout.readline()),
        "requests to be counted",
    )
    looking.kill()
    looking.wait(PATIENCE)


def counted(view: str) -> int:
    """How many requests top knows of."""
    return sum(map(sum, json.loads(view)["status"]["durations"].values()))


@pytest.mark.parametrize("first", ["", "import sys; sys.modules['rich'] = None; "])
def test_on_a_terminal_rich_is_used_if_it_is_there(
    server: Server, runtime: Path, first: str
) -> None:
    shown = on_a_terminal(runtime, "status", first=first)
    assert ("\x1b[32mserving" in shown) == (not first)
    live = on_a_terminal(runtime, "top", "--count", "2", "--interval", "0.1", first=first)
    alternate_screen = "\x1b[?1049h"
    assert (alternate_screen in live) == (not first)
    for text in (shown, live):
        assert str(server.pid) in text and str(server.workers()[1]) in text


# What it does.


def test_scale_retire_reopen_and_stop(serve: Serve, runtime: Path, tmp_path: Path) -> None:
    log = tmp_path / "rotated.log"
    server = serve(APP, environ=environ(runtime), workers=2, access_log=str(log))
    first = server.workers()
    assert ctl(runtime, "scale", "+1").out == "3 workers wanted\n"
    eventually(lambda: set(server.workers()) == {1, 2, 3}, "three workers")
    assert ctl(runtime, "scale", "-2").status == 0
    eventually(lambda: set(server.workers()) == {1}, "one worker")
    assert ctl(runtime, "scale", "2").status == 0
    for impossible in ("0", "-2", "401"):
        assert ctl(runtime, "scale", impossible).status == 1
    assert ctl(runtime, "scale", "many").status == 2
    assert ctl(runtime, "retire", "1").status == 0
    eventually(lambda: server.workers().get(1) not in (None, first[1]), "another worker")
    assert "no worker serves in slot 9" in ctl(runtime, "retire", "9").err
    log.unlink()
    assert ctl(runtime, "reopen-logs").status == 0
    assert log.exists()
    assert ctl(runtime, "stop", "--wait").status == 0
    assert server.wait() == 0
    assert not control_socket(server, runtime).exists()
    lost = ctl(runtime, "status", "--pid", str(os.getpid()))
    assert (lost.status, lost.out) == (4, "")


def test_a_good_deploy_ends_with_0_when_every_slot_runs_it_and_loses_no_request(
    server: Server, runtime: Path
) -> None:
    with Load(server.client, [fast], clients=10) as clients:
        done = ctl(runtime, "reload", "--wait")
    assert clients.losses == []
    assert done.status == 0, done.err
    lines = done.out.splitlines()
    assert lines[0] == "reload to generation 2 begun: 2 slots"
    assert re.fullmatch(r"done in \S+ s: every slot runs generation 2", lines[-1])
    for slot, pid in server.workers().items():
        who = rf"slot {slot}: pid {pid} \(generation 2\)"
        assert re.search(rf"{who} boots\n{who} is ready after \S+ s: {slot} of 2", done.out)
    (told,) = ctl(runtime, "status", "--json").objects
    assert {worker["generation"] for worker in told["workers"]} == {2}


BROKEN = {
    "syntax error": ("def app(:\n", {}, "SyntaxError"),
    "raises what is no Unicode, at length": (
        "def make():\n    raise ValueError('\\udcff' + 60_000 * 'x' + ' in short')\nmake()\n",
        {},
        "x in short",
    ),
    "never ready": (f"{GOOD}import time\ntime.sleep(3600)\n", {}, "line 3 in <module>"),
    "crashes when it is ready": (
        f"{GOOD}import _thread, os, time\n"
        "_thread.start_new_thread(lambda: (time.sleep(0.5), os._exit(7)), ())\n",
        {"reload_bake": 600.0},
        "exited with status 7",
    ),
}


@pytest.mark.parametrize("breakage", BROKEN)
def test_a_broken_deploy_ends_with_3_and_the_apps_traceback_and_loses_no_request(
    serve: Serve, runtime: Path, tmp_path: Path, breakage: str
) -> None:
    code, settings, trace = BROKEN[breakage]
    module = tmp_path / "deployed.py"
    module.write_text(GOOD)
    server = serve(
        "deployed:app", environ=environ(runtime), workers=2, listen_timeout=3.0, **settings
    )
    pids = server.workers()
    deploy(module, code)
    with Load(server.client, [fast], clients=10) as clients:
        failed = ctl(runtime, "reload", "--wait")
    assert clients.losses == []
    assert failed.status == 3
    assert "aborted" in failed.out.splitlines()[-1]
    assert trace in failed.err
    assert "preforkctl: the reload has failed, what served before goes on" in failed.err
    assert server.workers() == pids


def test_a_failed_reload_as_json_and_the_next_one_that_is_good(
    serve: Serve, runtime: Path, tmp_path: Path
) -> None:
    module = tmp_path / "deployed.py"
    module.write_text(GOOD)
    serve("deployed:app", environ=environ(runtime))
    deploy(module, "1 / 0\n")
    failed = ctl(runtime, "reload", "--wait", "--json")
    end, error = failed.objects[-2:]
    assert (end["is"], end["good"], error["exit_status"]) == ("reloaded", False, 3)
    assert "ZeroDivisionError" in end["trace"] and failed.err == ""
    deploy(module, GOOD)
    good = ctl(runtime, "reload", "--wait", "--json")
    assert (good.status, good.objects[-1]["good"]) == (0, True)


def test_with_preload_the_traceback_is_that_of_the_mold(
    serve: Serve, runtime: Path, tmp_path: Path
) -> None:
    module = tmp_path / "deployed.py"
    module.write_text(GOOD)
    serve("deployed:app", environ=environ(runtime), preload=True)
    deploy(module, "import there_is_no_such_module\n")
    failed = ctl(runtime, "reload", "--wait")
    assert (failed.status, "there_is_no_such_module" in failed.err) == (3, True)


def test_settings_that_can_not_be_read_refuse_a_reload(server: Server, runtime: Path) -> None:
    server.config.write_text("workers = 'many'\n")
    failed = ctl(runtime, "reload", "--wait")
    assert failed.status == 3
    assert "conf.toml" in failed.err and "workers" in failed.err


def test_a_reload_that_is_asked_for_during_another_is_waited_for(
    serve: Serve, runtime: Path, tmp_path: Path
) -> None:
    (tmp_path / "waits.py").write_text(
        "import os, time\nwhile os.path.exists('hold'): time.sleep(0.01)\n" + GOOD
    )
    serve("waits:app", environ=environ(runtime), workers=1)
    hold = tmp_path / "hold"
    hold.touch()
    first = begin(runtime, "reload", "--wait")
    assert first.stdout is not None
    assert first.stdout.readline() == "reload to generation 2 begun: 1 slots\n"
    assert ctl(runtime, "status", "--json").objects[0]["state"] == "reloading"
    second = begin(runtime, "reload", "--wait")
    assert second.stdout is not None
    assert second.stdout.readline().startswith("a reload, an upgrade or the start is under way")
    late = ctl(runtime, "reload", "--wait", "--timeout", "0.2")
    assert (late.status, "--timeout" in late.err) == (7, True)
    assert "after the one that is under way" in ctl(runtime, "reload").out
    hold.unlink()
    assert "every slot runs generation 2" in end(first).out
    assert "every slot runs generation 3" in end(second).out


def test_whoever_waits_for_a_reload_hears_of_a_stop(
    serve: Serve, runtime: Path, tmp_path: Path
) -> None:
    (tmp_path / "waits.py").write_text(
        "import os, time\nwhile os.path.exists('hold'): time.sleep(0.01)\n" + GOOD
    )
    serve("waits:app", environ=environ(runtime), workers=1)
    (tmp_path / "hold").touch()
    waiting = begin(runtime, "reload", "--wait")
    assert waiting.stdout is not None
    waiting.stdout.readline()
    assert ctl(runtime, "stop", "--quick").status == 0
    failed = end(waiting)
    assert (failed.status, "the service stops" in failed.err) == (3, True)


# Which master.


def test_of_several_masters_one_has_to_be_chosen(
    serve: Serve, runtime: Path, tmp_path: Path
) -> None:
    (tmp_path / "other.py").write_text(GOOD)
    first = serve(APP, environ=environ(runtime))
    # The same directory and log, but settings of its own.
    config = tmp_path / "first.toml"
    config.write_text(f"app = '{APP}'\n")
    pidfile = tmp_path / "pid"
    second = serve("other:app", environ=environ(runtime), pidfile=str(pidfile))
    eventually(control_socket(second, runtime).exists, "the second master")
    unclear = ctl(runtime, "status")
    assert unclear.status == 5
    assert f"--pid {first.pid}" in unclear.err and f"--pid {second.pid}" in unclear.err
    for choice, meant in [
        (("--pid", str(first.pid)), first),
        (("--pidfile", str(pidfile)), second),
        (("-c", str(second.config)), second),
        (("--socket", str(control_socket(first, runtime))), first),
    ]:
        (told,) = ctl(runtime, *choice, "status", "--json").objects
        assert told["pid"] == meant.pid
        (told,) = ctl(runtime, "status", *choice, "--json").objects
        assert told["pid"] == meant.pid
    (told,) = ctl(runtime, "-c", str(config), "status", "--json").objects
    assert told["pid"] == first.pid


def test_where_no_master_is_the_status_is_4(runtime: Path, tmp_path: Path) -> None:
    stale = runtime / "stale"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(str(stale))
    off = tmp_path / "conf.toml"
    off.write_text('control_socket = "off"\n')
    for choice in [
        (),
        ("--socket", str(stale)),
        ("--socket", str(runtime / "none")),
        ("--pid", str(os.getpid())),
        ("--pid", "2147483647"),
        ("--pidfile", str(runtime / "none")),
        ("-c", str(off)),
    ]:
        found = ctl(runtime, *choice, "status")
        assert (found.status, found.err.startswith("preforkctl: ")) == (4, True), choice
    (said,) = ctl(runtime, "status", "--json").objects
    assert (said["is"], said["exit_status"]) == ("error", 4)


@as_root
def test_another_users_master_is_not_to_be_steered(server: Server, runtime: Path) -> None:
    path = control_socket(server, runtime)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    # Even where the way to it is open.
    runtime.chmod(0o755)
    path.parent.chmod(0o755)
    found = ctl(runtime, "--socket", str(path), "stop", words=AS_NOBODY)
    assert (found.status, "not permitted" in found.err) == (6, True)
    assert ctl(runtime, "--pid", str(server.pid), "stop", words=AS_NOBODY).status == 6


@as_nobody
def test_the_socket_is_roots_where_the_workers_are_not(serve: Serve, runtime: Path) -> None:
    server = serve("prefork.demo:app", environ=environ(runtime), user="nobody")
    assert control_socket(server, runtime).stat().st_uid == 0
    assert ctl(runtime, "reload", "--wait").status == 0


# The socket.


def test_workers_do_not_have_the_control_socket(server: Server, runtime: Path) -> None:
    inode = next(
        line.split()[6]
        for line in Path("/proc/net/unix").read_text().splitlines()
        if line.endswith(str(control_socket(server, runtime)))
    )
    assert f"socket:[{inode}]" in fds(server.pid).values()
    waiting = socket.socket(socket.AF_UNIX)
    waiting.connect(str(control_socket(server, runtime)))
    server.reload()
    before = fds(server.pid)
    for pid in server.workers().values():
        shared = {what for what in fds(pid).values() if what.startswith("socket:")}
        assert f"socket:[{inode}]" not in shared
        # Besides connections of clients, of which there are none, one channel each.
        assert len(shared & set(before.values())) == 0
    waiting.close()


def test_an_upgrade_keeps_the_socket_and_whoever_waits(server: Server, runtime: Path) -> None:
    path = control_socket(server, runtime)
    inode = path.stat().st_ino
    client = server.client()
    client.ask("/fast")
    since = server.mark()
    server.send(signal.SIGUSR2)
    rehearsal = int(server.wait_for(r"it is rehearsed by pid=(\d+)", since)[1])
    os.kill(rehearsal, signal.SIGSTOP)
    waiting = begin(runtime, "reload", "--wait")
    assert waiting.stdout is not None
    assert waiting.stdout.readline().startswith("a reload, an upgrade or the start is under way")
    os.kill(rehearsal, signal.SIGCONT)
    done = end(waiting)
    assert (done.status, done.err) == (0, "")
    assert "taken over" in server.log[since:]
    (told,) = ctl(runtime, "status", "--json").objects
    assert (told["pid"], told["state"]) == (server.pid, "serving")
    assert told["requests"] >= 1 and told["uptime"] > 0.5
    assert path.stat().st_ino == inode
    assert server.stop() == 0
    assert not path.exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_master_that_is_gone_or_does_not_answer(
    server: Server, runtime: Path, number: signal.Signals
) -> None:
    if number == signal.SIGSTOP:
        server.send(number)
        assert (
            ctl(
                runtime,
                "status",
                "--socket",
                str(control_socket(server, runtime)),
                "--timeout",
                "0.3",
            ).status
            == 7
        )
        server.send(signal.SIGCONT)
        return
    live = begin(runtime, "top", "--json", "--interval", "0.05")
    assert live.stdout is not None
    live.stdout.readline()
    server.send(number)
    lost = end(live)
    assert lost.status in (4, 8) and "error" in lost.out


def test_a_socket_that_was_left_behind_is_replaced_and_one_in_use_is_not(
    serve: Serve, runtime: Path
) -> None:
    path = runtime / "sock"
    server = serve(APP, control_socket=str(path))
    server.kill()
    assert path.exists()
    since = server.mark()
    server = serve(APP, control_socket=str(path))
    server.wait_for("started", since)
    assert ctl(runtime, "-c", str(server.config), "status").status == 0
    since = server.mark()
    other = serve(APP, control_socket=str(path))
    other.wait_for("no control socket, and so no preforkctl: .*in use", since)
    assert other.stop() == 0
    (told,) = ctl(runtime, "--socket", str(path), "status", "--json").objects
    assert told["pid"] == server.pid


def test_what_killed_masters_have_left_behind_is_removed_by_the_next(
    serve: Serve, runtime: Path
) -> None:
    killed = serve(APP, environ=environ(runtime))
    killed.kill()
    left_behind = control_socket(killed, runtime)
    assert left_behind.exists()
    server = serve(APP, environ=environ(runtime))
    eventually(control_socket(server, runtime).exists, "the socket of the next")
    assert not left_behind.exists()


@pytest.mark.parametrize("place", ["missing/sock", "file/sock", "x" * 120])
def test_where_the_socket_can_not_be_the_service_goes_on_without(
    serve: Serve, runtime: Path, place: str
) -> None:
    (runtime / "file").touch()
    server = serve(APP, control_socket=str(runtime / place))
    server.client().ask("/fast")
    server.reload()
    assert server.log.count("no control socket") == 1
    assert server.stop() == 0


def test_a_directory_that_others_can_write_to_is_not_used(serve: Serve, runtime: Path) -> None:
    (runtime / "prefork").mkdir()
    (runtime / "prefork").chmod(0o777)
    server = serve(APP, environ=environ(runtime))
    server.wait_for("no control socket, and so no preforkctl: .*not this user's alone")
    assert list((runtime / "prefork").iterdir()) == []


def connect(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(path))
    sock.settimeout(PATIENCE)
    return sock


def test_hostile_clients_cost_nothing(server: Server, runtime: Path) -> None:
    path = control_socket(server, runtime)
    nonsense = [b"\n", b"{}\n", b"[1]\n", b'{"do":"dance"}\n', b"\xff\xfe\n", b'{"do":"scale"}\n']
    with connect(path) as sock:
        for line in nonsense:
            sock.sendall(line)
            assert b'"is":"refused"' in sock.recv(4096)
    with connect(path) as sock:
        sock.sendall(b"x" * 10_000)
        assert ended(sock)
    silent = [connect(path) for _ in range(3)]
    with connect(path) as greedy:
        # It asks for ever more, and reads nothing: neither is it read from.
        greedy.settimeout(0.5)
        with pytest.raises(TimeoutError):
            for _ in range(100_000):
                greedy.sendall(b'{"do":"status"}\n' * 100)
        many = [connect(path) for _ in range(40)]
        many[0].close()
        with connect(path) as sock:
            sock.sendall(b'{"do":"st')  # and no more
            assert ctl(runtime, "status").status == 0
            eventually(lambda: at_rest([server.pid]), "the master to sleep")
    server.client().ask("/fast")
    assert ctl(runtime, "reload", "--wait").status == 0
    for sock in (*silent, *many):
        sock.close()


def ended(sock: socket.socket) -> bool:
    try:
        return sock.recv(4096) == b""
    except ConnectionResetError:
        return True


def test_an_answer_reaches_a_client_that_has_said_all(server: Server, runtime: Path) -> None:
    """As `nc -N -U` does it."""
    with connect(control_socket(server, runtime)) as sock:
        sock.sendall(b'{"do":"reload","wait":true}\n{"do":"status"}\n')
        sock.shutdown(socket.SHUT_WR)
        with sock.makefile() as answers:
            lines = answers.read().splitlines()
    assert '"is":"reloaded","good":true' in lines[-2]
    assert '"is":"status"' in lines[-1]
