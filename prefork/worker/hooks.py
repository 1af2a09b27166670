"""Hooks: the functions of the setting `hooks`, and what they are called with.

In a worker they are those of its own life and of its requests. For one of the master's a process
is forked, which does nothing else.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType
from typing import Any

from prefork import child, signals
from prefork.errors import BootError, PreforkError
from prefork.settings import Settings, home
from prefork.wire.assignment import Assignment, HookAssignment
from prefork.worker.app import app_raised, load_attribute
from prefork.wsgi import App

Function = Callable[..., Any]

_log = logging.getLogger("prefork.worker")
_theirs = logging.getLogger("prefork.hooks")


@dataclass(frozen=True)
class Server:
    """The master, as hooks see it: its pid, what it listens on, and how many workers it wants."""

    pid: int
    cfg: Settings
    address: tuple[str, ...] = ()
    num_workers: int = 0
    log: logging.Logger = _theirs


@dataclass(frozen=True)
class Worker:
    """A worker, as hooks see it."""

    pid: int
    slot: int
    generation: int
    cfg: Settings
    log: logging.Logger = _theirs


class Request:
    """A request, as hooks see it: what gunicorn's have of it that is not in the environ."""

    def __init__(self, environ: dict[str, Any]) -> None:
        self.method: str = environ["REQUEST_METHOD"]
        self.uri: str = environ["RAW_URI"]
        self.path: str = environ["PATH_INFO"]
        self.query: str = environ["QUERY_STRING"]
        self.remote_addr = (environ["REMOTE_ADDR"], environ["REMOTE_PORT"])
        self.headers = [
            (key[5:].replace("_", "-"), value)
            for key, value in environ.items()
            if key.startswith("HTTP_")
        ]


@dataclass
class Response:
    """A response, as hooks see it: `sent` is the size of the body that the app has given, in bytes;
    without a status the app has not begun one."""

    status: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    sent: int = 0

    @property
    def status_code(self) -> int:
        """The number in the status, 0 without one."""
        return int(self.status[:3] or 0)


class Hooks:
    """The hooks of a worker.

    Args:
        assignment: whose hooks they are.

    Raises:
        BootError: a function can't be had.
    """

    def __init__(self, assignment: Assignment) -> None:
        settings, id = assignment.settings, assignment.id
        # All of them: that one of the master's is wrong should be known before it is needed.
        self._functions = {name: _load(name, settings) for name in settings.hooks}
        self._server = Server(assignment.surroundings.master, settings)
        self._worker = Worker(id.pid, id.slot, id.generation, settings)

    def forked(self) -> None:
        """The worker has not loaded the app yet.

        Raises:
            BootError: the function has raised.
        """
        self._call("post_fork", self._server, self._worker)

    def initialized(self, app: App) -> App:
        """The worker has the app; gives it with what is called around each request.

        Raises:
            BootError: the function has raised.
        """
        self._call("post_worker_init", self._worker)
        before, after = (self._functions.get(name) for name in ("pre_request", "post_request"))
        return _Watched(app, self._worker, before, after) if before or after else app

    def exiting(self) -> None:
        """The worker is at its end. What the function raises is logged."""
        try:
            self._call("worker_exit", self._server, self._worker)
        except BootError as error:
            _log.error("%s", error)

    def _call(self, name: str, *arguments: object) -> None:
        function = self._functions.get(name)
        if function is not None:
            _run(name, function, *arguments)


def main(assignment: HookAssignment) -> int:
    """Be the process that calls a hook of the master.

    Returns:
        The exit status.
    """
    # Here, as the app may be imported by it: with gevent's patches, and as the right user.
    from prefork.worker.main import enter

    logs, settings, name = assignment.logs, assignment.settings, assignment.name
    child.begin(f"hook {name}", settings, logs)
    logs.patient(True)
    # It is told nothing by the master: a signal means what it means to any process.
    signals.leave_to_parent()
    try:
        enter(settings)
        _run(name, _load(name, settings), *_arguments(assignment))
    except PreforkError as error:
        _log.error("%s", error)
        return error.exit_code
    return 0


def _arguments(assignment: HookAssignment) -> Iterator[object]:
    settings, worker = assignment.settings, assignment.worker
    yield Server(assignment.master, settings, assignment.addresses, assignment.size)
    if worker is not None:
        yield Worker(worker.pid, worker.slot, worker.generation, settings)
    yield from assignment.numbers


def _run(name: str, function: Function, *arguments: object) -> None:
    try:
        function(*arguments)
    except Exception as error:  # noqa: BLE001  whatever it was, it is told
        raise app_raised(f"hooks.{name} raised", error) from None


def _load(name: str, settings: Settings) -> Function:
    where, _, attribute = settings.hooks[name].rpartition(":")
    if where.endswith(".py"):
        path = os.path.join(home(settings), where)
        found = getattr(_file(path, name), attribute, None)
        if found is None:
            raise BootError(f"hooks.{name}: {path} has no {attribute!r}")
    else:
        found = load_attribute(settings.hooks[name])
    if not callable(found):
        raise BootError(f"hooks.{name} = {settings.hooks[name]} is not callable")
    function: Function = found
    return function


def _file(path: str, name: str) -> ModuleType:
    """The module that a file is, whatever it is called, once for all hooks."""
    if path in sys.modules:
        return sys.modules[path]
    spec = importlib.util.spec_from_file_location(path, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except OSError as error:
        raise BootError(f"hooks.{name}: {path}: {error.strerror}") from None
    except Exception as error:  # noqa: BLE001  whatever it was, it is told
        raise app_raised(f"hooks.{name}: {path} can't be imported", error) from None
    sys.modules[path] = module
    return module


class _Watched:
    """The app, with what is called before and after each request."""

    def __init__(
        self, app: App, worker: Worker, before: Function | None, after: Function | None
    ) -> None:
        self._app = app
        self._worker = worker
        self._before = before
        self._after = after

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        request = Request(environ)
        if self._before is not None:
            self._before(self._worker, request)
        if self._after is None:
            return self._app(environ, start_response)
        response = Response()
        done = partial(self._after, self._worker, request, environ, response)

        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            response.status, response.headers = status, headers
            write = start_response(status, headers, *exc_info)

            def counted(data: bytes) -> None:
                response.sent += len(data)
                write(data)

            return counted

        try:
            result = self._app(environ, start)
        except BaseException:
            done()
            raise
        return _Body(result, response, done)


class _Body:
    """What the app has given, until it is closed."""

    def __init__(
        self, body: Iterable[bytes], response: Response, done: Callable[[], object]
    ) -> None:
        self._body = body
        self._response = response
        self._done = done

    def __iter__(self) -> Iterator[bytes]:
        for data in self._body:
            self._response.sent += len(data)
            yield data

    def close(self) -> None:
        """PEP 3333: called by the server when the response has been sent, or has failed."""
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self._done()
