"""Preload: the app is imported once, by a mold, and workers are forked from it."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support.clients import Client, Load
from tests.support.modes import Mode
from tests.support.server import Server, alive, children, eventually, fds

# Says which code it is, which process has imported it, and which one answers.
APP = """\
import os
imported_by = os.getpid()
with open("imports", "a") as file:
    file.write(f"{imported_by}\\n")
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"VERSION {imported_by} {os.getpid()} {environ['prefork.slot']}".encode()]
"""


def deploy(directory: Path, version: str, extra: str = "") -> None:
    path = directory / "deployed.py"
    path.write_text(APP.replace("VERSION", version) + extra)
    # Python compiles it again only if the time has changed, in seconds, or the size.
    stamp = time.time() + len(list(directory.glob("deploy-*"))) * 10
    (directory / f"deploy-{stamp}").touch()
    os.utime(path, (stamp, stamp))


def answer(server: Server) -> list[str]:
    with server.client() as client:
        return client.ask("/").text.split()


def molds(server: Server) -> dict[int, int]:
    """The pids of the living molds, by generation."""
    found = re.findall(r"mold gen=(\d+) pid=(\d+) spawned", server.log)
    return {int(gen): int(pid) for gen, pid in found if alive(int(pid))}


def fine(client: Client) -> None:
    assert client.ask("/").status == 200


@pytest.fixture
def deployed(tmp_path: Path) -> Path:
    deploy(tmp_path, "one")
    return tmp_path


def test_the_app_is_imported_once_for_all_workers_which_are_the_masters_children(
    serve: Serve, deployed: Path, mode: Mode
) -> None:
    server = serve("deployed:app", workers=3, preload=True, **mode.settings)
    imports = (deployed / "imports").read_text().split()
    assert [int(pid) for pid in imports] == [molds(server)[1]]
    answers = [answer(server) for _ in range(6)]
    assert {importer for _, importer, _, _ in answers} == set(imports)
    assert len(server.workers()) == 3
    assert set(server.workers().values()) < set(children(server.pid))


def test_a_reload_brings_the_new_code_and_loses_nothing(
    serve: Serve, deployed: Path, mode: Mode
) -> None:
    server = serve("deployed:app", workers=2, preload=True, **mode.settings)
    with Load(server.client, [fine], clients=20) as load:
        for version in ("two", "three"):
            deploy(deployed, version)
            load.answer(100)
            server.reload()
            load.answer(100)
    assert load.losses == []
    assert answer(server)[0] == "three"
    eventually(lambda: list(molds(server)) == [3], "the old molds to go")
    assert "ERROR" not in server.log


def test_a_reload_that_fails_in_a_later_slot_goes_back_to_the_old_code_in_every_slot(
    serve: Serve, deployed: Path
) -> None:
    server = serve("deployed:app", workers=3, preload=True)
    # The second worker that is forked from the new mold dies as it is forked.
    deploy(
        deployed,
        "new",
        "forks = open('forks', 'w')\n"
        "def count():\n"
        "    forks.write('x'); forks.flush()\n"
        "    if os.path.getsize('forks') == 4: os._exit(7)\n"
        "os.register_at_fork(after_in_child=count)\n",
    )
    with Load(server.client, [fine], clients=10) as load:
        since = server.mark()
        server.send(signal.SIGHUP)
        server.wait_for("reload to generation 2 aborted .*slots that go back to .* 1: 1", since)
        server.wait_for("back at generation 1 in every slot", since)
    assert load.losses == []
    assert {answer(server)[0] for _ in range(9)} == {"one"}
    eventually(lambda: list(molds(server)) == [1], "the new mold to go")
    # A worker that dies later on has the code that serves, too.
    since = server.mark()
    os.kill(server.workers()[1], signal.SIGKILL)
    server.wait_for("worker=1 gen=1 pid=.* ready", since)
    assert {answer(server)[0] for _ in range(9)} == {"one"}


def test_an_app_that_can_not_be_imported_ends_the_start_with_status_3(
    start: Serve, deployed: Path
) -> None:
    deploy(deployed, "one", "raise RuntimeError('not today')\n")
    server = start("deployed:app", workers=2, preload=True)
    assert server.wait() == 3
    assert server.log.count("not today") == 2  # the app's line, and the error's
    assert "mold gen=1" in server.log


def test_a_broken_deploy_is_refused_by_the_mold_and_a_good_one_follows(
    serve: Serve, deployed: Path, kind: Mode
) -> None:
    server = serve("deployed:app", workers=2, preload=True, **kind.settings)
    before = server.workers()
    for mistake in ("raise RuntimeError('no')\n", "import nothing_of_the_kind\n", ")\n"):
        deploy(deployed, "bad", mistake)
        since = server.mark()
        server.send(signal.SIGHUP)
        server.wait_for("reload to generation .* aborted", since)
    assert server.workers() == before
    deploy(deployed, "good")
    server.reload()
    assert answer(server)[0] == "good"


def test_a_worker_that_crashes_is_forked_from_the_mold_and_runs_the_code_that_serves(
    serve: Serve, deployed: Path, kind: Mode
) -> None:
    server = serve("deployed:app", workers=2, preload=True, **kind.settings)
    deploy(deployed, "two")  # nobody has asked for it
    for pid in server.workers().values():
        since = server.mark()
        os.kill(pid, signal.SIGKILL)
        server.wait_for(r"worker=\d gen=1 pid=\d+ ready", since)
    assert {answer(server)[0] for _ in range(6)} == {"one"}


def test_a_mold_that_is_killed_costs_no_request_and_is_made_anew(
    serve: Serve, deployed: Path
) -> None:
    server = serve("deployed:app", workers=2, preload=True)
    with Load(server.client, [fine], clients=5) as load:
        os.kill(molds(server)[1], signal.SIGKILL)
        server.wait_for("mold gen=1 pid=.* was killed by SIGKILL")
        load.answer(50)
    assert load.losses == []
    since = server.mark()
    os.kill(server.workers()[1], signal.SIGKILL)
    server.wait_for("mold gen=1 pid=.* ready", since)
    server.wait_for("worker=1 gen=1 pid=.* ready", since)


def test_a_mold_that_forks_nobody_is_replaced(serve: Serve, deployed: Path) -> None:
    server = serve("deployed:app", workers=2, preload=True, listen_timeout=5)
    os.kill(molds(server)[1], signal.SIGSTOP)
    server.wait_for("mold gen=1 pid=.* was stopped")
    since = server.mark()
    os.kill(server.workers()[1], signal.SIGKILL)
    server.wait_for("did not come out of its mold", since)
    server.wait_for("worker=1 gen=1 pid=.* ready", since)


def test_the_stop_leaves_nobody_behind(serve: Serve, deployed: Path, mode: Mode) -> None:
    server = serve("deployed:app", workers=2, preload=True, **mode.settings)
    family = children(server.pid)
    assert len(family) == 3
    assert server.stop() == 0
    assert not any(alive(pid) for pid in family)


def test_workers_and_mold_go_when_the_master_is_killed(serve: Serve, deployed: Path) -> None:
    server = serve("deployed:app", workers=2, preload=True)
    family = children(server.pid)
    os.kill(server.pid, signal.SIGKILL)
    eventually(lambda: not any(alive(pid) for pid in family), "all to go")


def test_sigterm_to_every_process_at_once_stops_in_order(serve: Serve, deployed: Path) -> None:
    server = serve("deployed:app", workers=2, preload=True)
    with Load(server.client, [fine], clients=5) as load:
        load.answer(20)
    family = children(server.pid)
    os.killpg(server.pid, signal.SIGTERM)
    assert server.wait() == 0
    assert not any(alive(pid) for pid in family)
    assert "ERROR" not in server.log


def test_what_the_app_has_started_or_opened_at_its_import_is_named(
    serve: Serve, deployed: Path
) -> None:
    deploy(
        deployed,
        "one",
        "import socket, threading, time\n"
        "threading.Thread(target=time.sleep, args=(999,), name='poller', daemon=True).start()\n"
        "listener = socket.create_server(('127.0.0.1', 0))\n"
        "peer = socket.create_connection(listener.getsockname())\n",
    )
    server = serve("deployed:app", workers=2, preload=True)
    server.wait_for(r"mold gen=1 pid=\d+: threads that no worker will have: 'poller'")
    server.wait_for(r"sockets that all workers will share: fd \d+, bound to .*, fd \d+, connected")


def test_greenlets_that_the_app_has_spawned_at_its_import_are_named(
    serve: Serve, deployed: Path
) -> None:
    deploy(deployed, "one", "import gevent\ngevent.spawn(gevent.sleep, 999)\n")
    server = serve("deployed:app", worker_class="gevent", workers=2, preload=True)
    server.wait_for(r"greenlets that each worker will go on with: sleep")
    assert answer(server)[0] == "one"


def test_an_app_without_any_of_these_gets_no_warning(
    serve: Serve, deployed: Path, mode: Mode
) -> None:
    server = serve("deployed:app", workers=2, preload=True, **mode.settings)
    assert "WARNING" not in server.log


def test_with_wait_ready_an_app_may_say_so_while_the_mold_imports_it(
    serve: Serve, deployed: Path, kind: Mode
) -> None:
    deploy(deployed, "one", "import prefork\nprefork.ready()\n")
    server = serve("deployed:app", workers=2, preload=True, wait_ready=True, **kind.settings)
    server.reload()


def test_preload_can_be_turned_on_and_off_by_a_reload(serve: Serve, deployed: Path) -> None:
    server = serve("deployed:app", workers=2)
    assert molds(server) == {}
    server.configure({"workers": 2, "preload": True})
    server.reload()
    assert list(molds(server)) == [2]
    server.configure({"workers": 2})
    server.reload()
    eventually(lambda: molds(server) == {}, "the mold to go")
    assert len(set((deployed / "imports").read_text().split())) == 2 + 1 + 2


def test_a_worker_of_a_mold_has_no_fds_but_its_own(serve: Serve, deployed: Path) -> None:
    server = serve("deployed:app", workers=3)
    plain = [what.split(":")[0] for what in fds(server.workers()[2]).values()]
    server.configure({"workers": 3, "preload": True})
    server.reload()
    of_a_mold = [what.split(":")[0] for what in fds(server.workers()[2]).values()]
    assert sorted(of_a_mold) == sorted(plain)


def test_idle_loans_are_recalled_from_a_worker_of_a_mold(serve: Serve, tmp_path: Path) -> None:
    server = serve("tests.apps.mix:app", workers=2, preload=True)
    clients = [server.client() for _ in range(4)]
    for client in clients:
        assert client.ask("/").text == "fast\n"
    held = clients[0]
    held.request("GET", f"/hold?{tmp_path}/held")
    eventually((tmp_path / "held").exists, "the request to be executed")
    # All the others are served meanwhile, one of which was that worker's.
    for client in clients[1:]:
        assert client.ask("/").text == "fast\n"
    (tmp_path / "held").unlink()
    assert held.getresponse().read() == b"held\n"


def test_requests_are_recycled_and_scaled_from_the_mold(serve: Serve, deployed: Path) -> None:
    server = serve("deployed:app", workers=1, preload=True, max_requests=5)
    with Load(server.client, [fine], clients=2) as load:
        eventually(lambda: server.log.count("exited with status 0") >= 2, "two to be replaced")
        server.send(signal.SIGTTIN)
        server.wait_for("worker=2 gen=1 pid=.* ready")
    assert load.losses == []
    assert len((deployed / "imports").read_text().split()) == 1


def test_a_crash_loop_of_molds_backs_off_and_says_so(serve: Serve, deployed: Path) -> None:
    server = serve("deployed:app", workers=1, preload=True)
    deploy(deployed, "bad", "os._exit(9)\n")
    os.kill(molds(server)[1], signal.SIGKILL)
    server.wait_for("mold gen=1 .* was killed")
    os.kill(server.workers()[1], signal.SIGKILL)
    server.wait_for("mold has failed 3 times in a row: the next one comes in")
    deploy(deployed, "good")
    server.reload()
    assert answer(server)[0] == "good"


def test_the_log_is_reopened_by_the_mold_too(serve: Serve, deployed: Path) -> None:
    log = deployed / "access.log"
    server = serve("deployed:app", workers=1, preload=True, access_log=str(log))
    answer(server)
    log.rename(deployed / "old.log")
    server.send(signal.SIGUSR1)
    server.wait_for("logs reopened")
    since = server.mark()
    os.kill(server.workers()[1], signal.SIGKILL)
    server.wait_for("worker=1 gen=1 pid=.* ready", since)
    answer(server)
    eventually(lambda: log.exists() and log.read_text(), "a line in the new file")


# Upgrades: see also test_upgrade.


def upgraded(server: Server, outcome: str) -> None:
    since = server.mark()
    server.send(signal.SIGUSR2)
    server.wait_for("taken over by", since)
    server.wait_for(rf"reload to generation \d+ {outcome}", since)


def test_an_upgrade_takes_the_mold_along_and_loses_nothing(
    serve: Serve, deployed: Path, mode: Mode
) -> None:
    server = serve("deployed:app", workers=2, preload=True, **mode.settings)
    with Load(server.client, [fine], clients=10) as load:
        deploy(deployed, "two")
        upgraded(server, "done")
        deploy(deployed, "three")
        upgraded(server, "done")
    assert load.losses == []
    assert answer(server)[0] == "three"
    eventually(lambda: list(molds(server)) == [3], "the old molds to go")


def test_after_an_upgrade_onto_a_broken_app_workers_come_from_the_old_mold(
    serve: Serve, deployed: Path
) -> None:
    server = serve("deployed:app", workers=2, preload=True)
    deploy(deployed, "bad", "raise RuntimeError('no')\n")
    upgraded(server, "aborted")
    for pid in server.workers().values():
        since = server.mark()
        os.kill(pid, signal.SIGKILL)
        server.wait_for(r"worker=\d gen=1 pid=\d+ ready", since)
    assert {answer(server)[0] for _ in range(6)} == {"one"}
