"""What a worker's process is: its name, directory, user, fds and signals; what the master isn't."""

from __future__ import annotations

import grp
import json
import os
import pwd
import re
import resource
import shutil
import signal
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Serve
from tests.support.command import as_nobody, launched, run
from tests.support.server import Server, children, eventually

APP = "tests.apps.probe:app"


def title(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode()


def status(pid: int) -> dict[str, str]:
    text = Path(f"/proc/{pid}/status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines())


def process_of(server: Server) -> dict[str, Any]:
    with server.client() as client:
        answer: dict[str, Any] = json.loads(client.ask("/process").body)
        return answer


# Titles.


@pytest.mark.parametrize(("name", "shown"), [("", APP), ("shop", "shop")])
def test_processes_are_titled_by_what_they_are(serve: Serve, name: str, shown: str) -> None:
    server = serve(APP, workers=2, proc_name=name)
    assert title(server.pid) == f"prefork: master [{shown}]"
    for slot, pid in server.workers().items():
        assert title(pid) == f"prefork: worker {slot} gen 1 [{shown}]"
    server.reload()
    for slot, pid in server.workers().items():
        assert title(pid) == f"prefork: worker {slot} gen 2 [{shown}]"


def test_a_worker_that_still_boots_has_its_title(start: Serve, tmp_path: Path) -> None:
    (tmp_path / "hangs.py").write_text("open('begun', 'w')\nimport time\ntime.sleep(3600)\n")
    server = start("hangs:app")
    eventually((tmp_path / "begun").exists, "the import")
    (pid,) = children(server.pid)
    assert title(pid) == "prefork: worker 1 gen 1 [hangs:app]"


def test_the_masters_title_follows_the_name_that_a_reload_brings(serve: Serve) -> None:
    server = serve(APP, proc_name="before")
    server.configure({"proc_name": "after"})
    server.reload()
    assert title(server.pid) == "prefork: master [after]"


def test_an_aborted_reload_leaves_the_masters_title_as_it_was(serve: Serve) -> None:
    server = serve(APP)
    server.configure({"proc_name": "after", "chdir": "absent"})
    server.send(signal.SIGHUP)
    server.wait_for("reload to generation 2 aborted")
    assert title(server.pid) == f"prefork: master [{APP}]"


# Where it runs.

SITE = (
    "import os\n"
    "def app(environ, start_response):\n"
    "    body = ('{}|' + os.getcwd() + '|' + os.environ.get('RELEASE', '')).encode()\n"
    "    start_response('200 OK', [('Content-Length', str(len(body)))])\n"
    "    return [body]\n"
)


class Releases:
    """Releases of a site side by side, and a link to the current one, as deploys make them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.current = directory / "current"

    def release(self, name: str) -> Path:
        """Make a release, and have the link point to it at once."""
        path = self.directory / name
        path.mkdir()
        (path / "site_.py").write_text(SITE.format(name))
        (path / "conf.toml").write_text(f'env = ["RELEASE=conf of {name}"]\n')
        link = self.directory / "new"
        link.symlink_to(path)
        link.replace(self.current)
        return path

    def answer(self, server: Server) -> list[str]:
        with server.client() as client:
            return client.ask("/").text.split("|")


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    return Releases(tmp_path)


def by_chdir(releases: Releases) -> Any:
    arguments = ["site_:app", "-b", "127.0.0.1:0", "--chdir", "current"]
    return launched(releases.directory, *arguments)


def by_shell(releases: Releases) -> Any:
    """As by `cd current; prefork ...`: a shell keeps the link's path in $PWD."""
    return launched(
        releases.directory,
        *("site_:app", "-b", "127.0.0.1:0"),
        cwd=releases.current,
        environ={"PWD": str(releases.current)},
    )


@pytest.mark.parametrize("begin", [by_chdir, by_shell])
def test_a_reload_runs_the_release_that_a_link_has_been_moved_to(
    releases: Releases, begin: Callable[[Releases], Any]
) -> None:
    first = releases.release("one")
    with begin(releases) as server:
        server.started()
        assert releases.answer(server)[:2] == ["one", str(first)]
        second = releases.release("two")
        assert releases.answer(server)[:2] == ["one", str(first)]
        server.reload()
        assert releases.answer(server)[:2] == ["two", str(second)]
        shutil.rmtree(first)
        third = releases.release("three")
        server.reload()
        assert releases.answer(server)[:2] == ["three", str(third)]


def test_a_configuration_file_of_the_current_release_is_read_where_the_link_points(
    releases: Releases,
) -> None:
    first = releases.release("one")
    with launched(
        releases.directory,
        *("site_:app", "-b", "127.0.0.1:0", "-c", "conf.toml"),
        cwd=releases.current,
        environ={"PWD": str(releases.current)},
    ) as server:
        server.started()
        assert releases.answer(server)[2] == "conf of one"
        releases.release("two")
        shutil.rmtree(first)
        server.reload()
        assert releases.answer(server)[2] == "conf of two"


def test_a_pwd_that_is_not_the_directory_is_not_believed(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    with launched(
        tmp_path, APP, "-b", "127.0.0.1:0", environ={"PWD": str(tmp_path / "elsewhere")}
    ) as server:
        assert process_of(server.started())["cwd"] == str(tmp_path)


def test_modules_are_looked_for_in_chdir_then_in_pythonpath(serve: Serve, tmp_path: Path) -> None:
    for name in ("site", "lib", "more"):
        (tmp_path / name).mkdir()
    server = serve(APP, chdir="site", pythonpath=["../lib", str(tmp_path / "more")])
    process = process_of(server)
    assert process["cwd"] == str(tmp_path / "site")
    found = [os.path.normpath(path) for path in process["path"][:3]]
    assert found == [str(tmp_path / name) for name in ("site", "lib", "more")]


def test_without_chdir_modules_are_looked_for_where_it_was_started(
    serve: Serve, tmp_path: Path
) -> None:
    assert process_of(serve(APP))["path"][0] == str(tmp_path)


def test_env_is_for_the_app_and_not_for_the_master(serve: Serve) -> None:
    server = serve(APP, env={"PROBE": "set, with = and ,"})
    with server.client() as client:
        assert client.ask("/name").text == "set, with = and ,"
    assert b"PROBE=" not in Path(f"/proc/{server.pid}/environ").read_bytes()
    server.configure({})
    server.reload()
    with server.client() as client:
        assert client.ask("/name").text == "", "what a reload has taken away is still there"


def test_the_umask_is_that_of_the_setting(serve: Serve) -> None:
    assert process_of(serve(APP, umask=0o027))["umask"] == 0o027


# As whom it runs.

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root may become somebody else")


@needs_root
@as_nobody
@pytest.mark.parametrize("by_number", [False, True], ids=["by name", "by number"])
def test_workers_run_as_the_user_and_the_master_stays_root(serve: Serve, by_number: bool) -> None:
    nobody = pwd.getpwnam("nobody")
    user = str(nobody.pw_uid) if by_number else "nobody"
    server = serve(APP, user=user, chdir="/")
    process = process_of(server)
    assert process["uids"] == [nobody.pw_uid] * 3
    assert process["gids"] == [nobody.pw_gid] * 3
    assert 0 not in process["groups"]
    assert status(server.pid)["Uid"].split() == ["0"] * 4
    server.reload()
    assert process_of(server)["uids"] == [nobody.pw_uid] * 3


@needs_root
@as_nobody
def test_the_group_setting_wins_over_the_users_own(serve: Serve) -> None:
    process = process_of(serve(APP, user="nobody", group="daemon", chdir="/"))
    assert process["gids"] == [grp.getgrnam("daemon").gr_gid] * 3
    assert process["uids"] == [pwd.getpwnam("nobody").pw_uid] * 3


@as_nobody
def test_the_user_that_it_runs_as_already_may_be_named(tmp_path: Path) -> None:
    arguments = [APP, "-b", "127.0.0.1:0", "-u", "nobody"]
    nobody = pwd.getpwnam("nobody")
    with launched(tmp_path, *arguments, cwd="/", user="nobody", group=nobody.pw_gid) as server:
        assert process_of(server.started())["uids"] == [nobody.pw_uid] * 3


@as_nobody
def test_a_user_that_it_may_not_become_is_told_in_words(tmp_path: Path) -> None:
    arguments = [APP, "-b", "127.0.0.1:0", "-u", "daemon"]
    with launched(tmp_path, *arguments, cwd="/", user="nobody") as server:
        assert server.wait() in (2, 3)
        assert re.search("user = daemon.*: not permitted", server.log)
        assert "Traceback" not in server.log


# Its descriptors.


def sockets_of(pid: int) -> set[int]:
    """The inodes of the sockets that the process has open."""
    found = set()
    for entry in os.scandir(f"/proc/{pid}/fd"):
        target = os.readlink(entry.path)
        if target.startswith("socket:["):
            found.add(int(target[8:-1]))
    return found


def connections(port: int) -> dict[int, int]:
    """The server's ends of a port's connections: the client's port by inode; 0 the listener."""
    found = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        # Without an inode it is what is left of a closed one, of this server or another.
        if int(fields[1].rpartition(":")[2], 16) == port and fields[9] != "0":
            found[int(fields[9])] = int(fields[2].rpartition(":")[2], 16)
    return found


def test_a_worker_has_its_own_connections_and_no_others_nor_a_listener(serve: Serve) -> None:
    server = serve(APP, workers=2)
    # One for each: nothing that they would be asked to give the third worker.
    clients = [server.client() for _ in range(2)]
    lent: dict[int, set[int]] = {}
    for client in clients:
        slot = int(client.ask("/").text.split()[0])
        lent.setdefault(slot, set()).add(client.sock.getsockname()[1])
    server.send(signal.SIGTTIN)  # a worker that is forked while there are connections
    eventually(lambda: 3 in server.workers(), "a third worker")
    known = connections(server.port)
    assert sorted(known.values()) == sorted({0}.union(*lent.values()))
    for slot, pid in server.workers().items():
        own = sockets_of(pid)
        assert {known[inode] for inode in own & set(known)} == lent.get(slot, set())
        assert len(own - set(known)) == 1, "besides the channel there is another socket"
    assert set(known) <= sockets_of(server.pid)


def test_the_master_keeps_no_descriptor_of_what_has_ended(serve: Serve) -> None:
    server = serve(APP, workers=2)

    def open_fds() -> list[str]:
        return sorted(os.readlink(entry.path) for entry in os.scandir(f"/proc/{server.pid}/fd"))

    before = len(open_fds())
    for _ in range(3):
        with server.client() as client:
            client.ask("/")
        server.reload()
    os.kill(server.workers()[1], signal.SIGKILL)
    server.wait_for(r"killed by SIGKILL(.|\n)*worker=1 gen=4 pid=\d+ ready")
    eventually(lambda: len(open_fds()) == before, f"{before} fds again; now {open_fds()}")


def test_a_program_that_the_app_executes_inherits_no_descriptor(serve: Serve) -> None:
    server = serve(APP, access_log="access")
    with server.client() as client:
        client.ask("/")
        for pid in (server.pid, server.workers()[1]):
            for entry in os.scandir(f"/proc/{pid}/fdinfo"):
                flags = int(re.findall(r"flags:\s+(\d+)", Path(entry.path).read_text())[0], 8)
                assert int(entry.name) <= 2 or flags & os.O_CLOEXEC, os.readlink(
                    f"/proc/{pid}/fd/{entry.name}"
                )


def test_the_limit_of_descriptors_is_raised_to_what_is_allowed(tmp_path: Path) -> None:
    hard = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 4096)
    limit = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (256, hard))
    with launched(tmp_path, APP, "-b", "127.0.0.1:0", preexec_fn=limit) as server:
        for pid in (server.started().pid, server.workers()[1]):
            limits = Path(f"/proc/{pid}/limits").read_text()
            assert re.search(rf"^Max open files\s+{hard}\s+{hard}\s", limits, re.M)


def test_more_connections_than_the_soft_limit_allows_are_served(tmp_path: Path) -> None:
    limit = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (64, 1024))
    with launched(tmp_path, APP, "-b", "127.0.0.1:0", preexec_fn=limit) as server:
        clients = [server.started().client() for _ in range(150)]
        for _ in range(2):
            for client in clients:
                assert client.ask("/").status == 200
        for client in clients:
            client.close()


def test_what_the_limit_of_descriptors_leaves_no_room_for_is_told(tmp_path: Path) -> None:
    limit = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (64, 1024))
    options = ("-b", "127.0.0.1:0", "--worker-connections", "513", "--limit-connections", "512")
    with launched(tmp_path, APP, *options, preexec_fn=limit) as server:
        server.wait_for("worker_connections = 513, but with RLIMIT_NOFILE at 1024 there can be 512")
        assert "limit_connections = 512" not in server.started().log


# What the master is not.


def test_the_master_imports_neither_the_app_nor_what_only_workers_need(
    serve: Serve, tmp_path: Path
) -> None:
    (tmp_path / "noted.py").write_text(
        "import os\nopen('importers', 'a').write(f'{os.getpid()}\\n')\n"
        "from tests.apps.probe import app\n"
    )
    server = serve("noted:app", workers=2)
    server.reload()
    with server.client() as client:
        client.ask("/")
    importers = {int(pid) for pid in (tmp_path / "importers").read_text().split()}
    assert len(importers) == 4
    assert server.pid not in importers
    unwanted = re.compile(r"\S*(gevent|greenlet|httptools|_ssl|libssl|parser/)\S*")
    assert not unwanted.findall(Path(f"/proc/{server.pid}/maps").read_text())
    assert unwanted.findall(Path(f"/proc/{server.workers()[1]}/maps").read_text())


def test_the_master_has_a_single_thread(serve: Serve) -> None:
    server = serve(APP)
    server.reload()
    assert status(server.pid)["Threads"] == "1"


# Signals of what it executes.


def test_a_program_that_the_app_executes_finds_signals_as_usual(serve: Serve) -> None:
    with serve(APP).client() as client:
        lines = client.ask("/child").text.splitlines()
    found = dict(line.split(":\t", 1) for line in lines)
    for mask in ("SigBlk", "SigIgn", "SigCgt"):
        # Not 32 and 33, which are glibc's own, and which make ignores in its children.
        assert int(found[mask], 16) & ~(0b11 << 31) == 0, f"{mask} {found[mask]}"


# How many there are.


def test_automatic_workers_are_as_many_as_cpus_may_be_used(tmp_path: Path) -> None:
    one = {min(os.sched_getaffinity(0))}
    pin = partial(os.sched_setaffinity, 0, one)
    with launched(tmp_path, APP, "-b", "127.0.0.1:0", "-w", "auto", preexec_fn=pin) as server:
        assert set(server.started().workers()) == {1}


def test_a_directory_that_is_not_there_is_told_in_words(tmp_path: Path) -> None:
    done = run(tmp_path, APP, "-b", "127.0.0.1:0", "--chdir", "absent")
    assert done.returncode in (2, 3)
    assert done.stderr.count(f"chdir = {tmp_path}/absent: No such file or directory") == 1
    assert "Traceback" not in done.stderr


def test_a_connection_is_closed_for_good_when_the_app_forks_and_the_child_lives_on(
    serve: Serve, tmp_path: Path
) -> None:
    """A child that the app forks, and leaves behind, inherits the client's connection."""
    (tmp_path / "forks.py").write_text(
        "import os, time\n"
        "def app(environ, start_response):\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        time.sleep(3600)\n"
        "        os._exit(0)\n"
        "    body = str(pid).encode()\n"
        "    start_response('200 OK', [('Content-Length', str(len(body)))])\n"
        "    return [body]\n"
    )
    server = serve("forks:app")
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        data = b""
        while part := sock.recv(65536):
            data += part
    child = int(data.rpartition(b"\r\n\r\n")[2])
    os.kill(child, signal.SIGKILL)


def test_what_the_app_does_at_exit_gets_the_time_that_it_needs(
    serve: Serve, tmp_path: Path
) -> None:
    """Clients of error trackers, for one, send what they have gathered then."""
    (tmp_path / "flushes.py").write_text(
        "import atexit, time\nfrom tests.apps.probe import app\n"
        "def flush():\n    time.sleep(2)\n    open('flushed', 'w')\n"
        "atexit.register(flush)\n"
    )
    server = serve("flushes:app")
    assert server.stop() == 0
    assert (tmp_path / "flushed").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_a_worker_on_its_way_out_does_not_change_its_end(
    serve: Serve, tmp_path: Path, number: signal.Signals
) -> None:
    """Python gives signals their default actions back before it tears the modules down."""
    (tmp_path / "lingers.py").write_text(
        "import os, time\nfrom tests.apps.probe import app\n"
        "class Last:\n"
        "    def __del__(self, os=os, time=time):\n"
        "        os.mkdir('leaving')\n"
        "        while not os.path.exists('go'): time.sleep(0.005)\n"
        "last = Last()\n"
    )
    server = serve("lingers:app")
    (pid,) = server.workers().values()
    server.send(signal.SIGTERM)
    eventually((tmp_path / "leaving").exists, "the worker to leave")
    os.kill(pid, number)
    (tmp_path / "go").touch()
    assert server.wait() == 0
    assert re.search(rf"pid={pid} exited with status 0", server.log)
