"""Hooks: what is called at which moment, where, and what becomes of one that fails."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from prefork.hooks import HOOKS
from tests.conftest import Serve
from tests.support.command import run
from tests.support.modes import Mode
from tests.support.server import eventually

APP = "tests.apps.contract:app"
ALL = {name: f"tests.apps.hooks:{name}" for name in HOOKS}


class Journal:
    """What the hooks of a server have noted."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "journal"
        self.environ = {"JOURNAL": str(self._path)}

    @property
    def lines(self) -> list[str]:
        return self._path.read_text().splitlines() if self._path.exists() else []

    def wait_for(self, line: str) -> None:
        eventually(lambda: line in self.lines, f"{line!r} in the journal")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path)


def serve_with(serve: Serve, journal: Journal, hooks: dict[str, str], **settings: Any) -> Any:
    return serve(APP, env=journal.environ, hooks=hooks, **settings)


def test_each_hook_is_called_at_its_moment(serve: Serve, journal: Journal, kind: Mode) -> None:
    server = serve_with(serve, journal, ALL, workers=1, **kind.settings)
    (worker,) = server.workers().values()
    assert journal.lines[0] == f"on_starting {server.pid} {server.pid} 127.0.0.1:0"
    assert journal.lines[1] == f"post_fork 1 {server.pid} True"
    assert "post_worker_init 1" in journal.lines
    assert f"worker 1 has the app of {APP}" in server.log
    journal.wait_for(f"when_ready {server.pid} 1")
    with server.client() as client:
        body = client.ask("/pid").body
    journal.wait_for(f"post_request /pid 200 {len(body)}")
    assert f"pre_request GET /pid 127.0.0.1:{server.port}" in journal.lines
    server.send(signal.SIGTTIN)
    journal.wait_for("nworkers_changed 2 1")
    server.reload()
    journal.wait_for(f"on_reload {server.pid}")
    journal.wait_for(f"worker_exit 1 {worker}")
    journal.wait_for(f"child_exit 1 {worker}")
    assert server.stop() == 0
    assert journal.lines[-1] == f"on_exit {server.pid}"
    assert "ERROR" not in server.log


def test_a_worker_that_was_killed_has_a_child_exit_but_no_worker_exit(
    serve: Serve, journal: Journal
) -> None:
    server = serve_with(serve, journal, ALL)
    (worker,) = server.workers().values()
    os.kill(worker, signal.SIGKILL)
    journal.wait_for(f"child_exit 1 {worker}")
    assert f"worker_exit 1 {worker}" not in journal.lines


def test_a_preloaded_worker_has_its_own_post_fork(serve: Serve, journal: Journal) -> None:
    server = serve_with(serve, journal, ALL, workers=2, preload=True)
    for slot in (1, 2):
        assert f"post_fork {slot} {server.pid} True" in journal.lines


def test_a_hook_may_be_in_a_file_of_any_name(
    serve: Serve, journal: Journal, tmp_path: Path
) -> None:
    (tmp_path / "gunicorn.conf.py").write_text(
        "from tests.apps.hooks import note\n"
        "def post_worker_init(worker):\n    note('from a file', worker.slot)\n"
    )
    serve_with(serve, journal, {"post_worker_init": "gunicorn.conf.py:post_worker_init"})
    assert journal.lines == ["from a file 1"]


def test_a_response_is_seen_when_the_app_has_raised_too(serve: Serve, journal: Journal) -> None:
    server = serve_with(serve, journal, {"post_request": ALL["post_request"]})
    with server.client() as client:
        assert client.ask("/mistake?raises_before_start_response").status == 500
    journal.wait_for("post_request /mistake 0 0")


def test_a_hook_of_the_master_that_fails_is_logged(serve: Serve, journal: Journal) -> None:
    server = serve_with(serve, journal, {"when_ready": "tests.apps.hooks:raises"})
    server.wait_for("hooks.when_ready raised:\nTraceback")
    server.wait_for("ERROR master pid=.*: hooks.when_ready exited with status 3")
    with server.client() as client:
        assert client.ask("/").status == 200


@pytest.mark.parametrize("name", ["post_fork", "post_worker_init"])
def test_a_hook_of_a_new_worker_that_fails_aborts_the_reload(
    serve: Serve, journal: Journal, name: str
) -> None:
    server = serve_with(serve, journal, {})
    server.configure({"hooks": {name: "tests.apps.hooks:raises"}})
    since = server.mark()
    server.send(signal.SIGHUP)
    server.wait_for("reload to generation 2 aborted", since)
    assert f"hooks.{name} raised:" in server.log
    assert "this hook is broken" in server.log
    with server.client() as client:
        assert client.ask("/").status == 200


def test_without_on_starting_having_succeeded_there_is_no_start(start: Serve) -> None:
    server = start(APP, hooks={"on_starting": "tests.apps.hooks:raises"})
    assert server.process.wait() == 3
    assert "this hook is broken" in server.log
    assert "hooks.on_starting exited with status 3" in server.log


@pytest.mark.parametrize("function", ["tests.apps.hooks:nothing", "nowhere:x", "gone.py:x"])
def test_a_function_that_is_not_there_fails_the_start(start: Serve, function: str) -> None:
    """Although this one would be called at the end only."""
    server = start(APP, hooks={"on_exit": function})
    assert server.process.wait() == 3
    assert function.partition(":")[0] in server.log


@pytest.mark.parametrize(
    ("hook", "why"),
    [
        ("post_forkk=a:b", "there is no hook post_forkk (did you mean post_fork?)"),
        ("pre_fork=a:b", "there is no hook pre_fork: the master runs no code of others"),
        ("post_fork=a", "hooks.post_fork = 'a': expected module:function or file.py:function"),
    ],
)
def test_a_hook_that_can_not_be_is_refused(tmp_path: Path, hook: str, why: str) -> None:
    done = run(tmp_path, APP, "--hook", hook)
    assert done.returncode == 2
    assert why in done.stderr


def test_a_hook_that_hangs_does_not_hold_up_the_service(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\ndef hang(server): time.sleep(600)\n")
    server = serve(APP, hooks={"on_reload": "slow.py:hang"})
    began = time.monotonic()
    server.reload()
    with server.client() as client:
        assert client.ask("/").status == 200
    assert time.monotonic() - began < 60
