"""Hooks that write down that they were called, into the file $JOURNAL."""

from __future__ import annotations

import os
from typing import Any


def note(*words: object) -> None:
    with open(os.environ["JOURNAL"], "a") as journal:
        print(*words, file=journal)


def on_starting(server: Any) -> None:
    note("on_starting", server.pid, os.getppid(), *server.address)


def when_ready(server: Any) -> None:
    note("when_ready", server.pid, server.num_workers)


def on_reload(server: Any) -> None:
    note("on_reload", server.pid)


def on_exit(server: Any) -> None:
    note("on_exit", server.pid)


def nworkers_changed(server: Any, new: int, old: int) -> None:
    note("nworkers_changed", new, old)


def child_exit(server: Any, worker: Any) -> None:
    note("child_exit", worker.slot, worker.pid)


def post_fork(server: Any, worker: Any) -> None:
    note("post_fork", worker.slot, server.pid, os.getpid() == worker.pid)


def post_worker_init(worker: Any) -> None:
    worker.log.info("worker %d has the app of %s", worker.slot, worker.cfg.app)
    note("post_worker_init", worker.slot)


def worker_exit(server: Any, worker: Any) -> None:
    note("worker_exit", worker.slot, worker.pid)


def pre_request(worker: Any, request: Any) -> None:
    note("pre_request", request.method, request.path, dict(request.headers)["HOST"])


def post_request(worker: Any, request: Any, environ: dict[str, Any], response: Any) -> None:
    note("post_request", environ["PATH_INFO"], response.status_code, response.sent)


def raises(*arguments: Any) -> None:
    raise RuntimeError("this hook is broken")
