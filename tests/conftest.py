"""Fixtures: real servers, of which the log is shown when a test fails."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support.machine import machine as machine
from tests.support.modes import KINDS, MODES, Mode
from tests.support.rawhttp import show_log_of_failure
from tests.support.server import Server

Serve = Callable[..., Server]

# A busy machine may take any time for an example, and for finding one.
settings.register_profile(
    "prefork",
    settings.default,
    deadline=None,
    suppress_health_check=[*settings.default.suppress_health_check, HealthCheck.too_slow],
)
settings.load_profile("prefork")

_REPORT = pytest.StashKey[pytest.TestReport]()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    outcome: Any = yield
    if call.when == "call":
        item.stash[_REPORT] = outcome.get_result()


@pytest.fixture(scope="session", autouse=True)
def _runtime_directory() -> Iterator[None]:
    """For control sockets: not among those of masters that somebody runs in earnest."""
    with (
        tempfile.TemporaryDirectory(prefix="run-") as directory,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("XDG_RUNTIME_DIR", directory)
        yield


@pytest.fixture(scope="module", params=MODES, ids=str)
def mode(request: pytest.FixtureRequest) -> Mode:
    """Each kind of worker with each dispatch, one after the other."""
    return request.param


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> Mode:
    """Each kind of worker, with the usual dispatch."""
    return Mode(request.param)


@pytest.fixture(autouse=True)
def _log_of_a_shared_server(request: pytest.FixtureRequest) -> Iterator[None]:
    """Where the tests of a file share the fixture `server`: what it logged during a failure."""
    if "server" in request.fixturenames:
        yield from show_log_of_failure(request, request.getfixturevalue("server"))
    else:
        yield


@pytest.fixture
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Serve]:
    """Starts a server without waiting for it: `start("module:app", workers=2)`."""
    servers: list[Server] = []

    def begin(app: str, *, environ: dict[str, str] | None = None, **settings: Any) -> Server:
        server = Server(app, tmp_path, settings, environ)
        servers.append(server)
        return server

    yield begin
    report = request.node.stash.get(_REPORT, None)
    for server in servers:
        if report is None or report.failed:
            print(f"----- the server's log -----\n{server.log}")
        server.kill()


@pytest.fixture
def serve(start: Serve) -> Serve:
    """Starts a server and waits until all its workers serve."""

    def begin(app: str, **settings: Any) -> Server:
        return start(app, **settings).started()

    return begin
