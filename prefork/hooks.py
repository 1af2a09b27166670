"""The hooks there are: moments at which functions of the operator's are called.

The setting `hooks` says which. The names and the arguments are gunicorn's.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from prefork.errors import UsageError


class Place(Enum):
    """Where a hook is called.

    The master never runs code that is not its own. What is to be called when something happens to
    it, is called in a process that is forked for this, as the user that the workers run as.
    """

    WORKER = "in the worker"
    BESIDE = "in a process of its own"


@dataclass(frozen=True)
class Hook:
    """A moment: where its function is called, with what, and when."""

    place: Place
    arguments: tuple[str, ...]
    when: str


HOOKS = {
    "on_starting": Hook(
        Place.BESIDE,
        ("server",),
        "Before the first worker is forked, which waits for it. If it fails, so does the start.",
    ),
    "when_ready": Hook(Place.BESIDE, ("server",), "When all workers serve, after the start."),
    "on_reload": Hook(Place.BESIDE, ("server",), "When a reload begins."),
    "nworkers_changed": Hook(
        Place.BESIDE, ("server", "new", "old"), "When the number of workers has been changed."
    ),
    "child_exit": Hook(Place.BESIDE, ("server", "worker"), "When a worker has exited."),
    "on_exit": Hook(Place.BESIDE, ("server",), "When all workers have gone, before the master."),
    "post_fork": Hook(
        Place.WORKER,
        ("server", "worker"),
        "Before a new worker loads the app; with preload, in the worker that was forked.",
    ),
    "post_worker_init": Hook(Place.WORKER, ("worker",), "When a new worker has the app."),
    "pre_request": Hook(Place.WORKER, ("worker", "request"), "Before the app is called."),
    "post_request": Hook(
        Place.WORKER,
        ("worker", "request", "environ", "response"),
        "When the app's response has been sent, or the app has raised.",
    ),
    "worker_exit": Hook(Place.WORKER, ("server", "worker"), "Before a worker exits by itself."),
}

# Those of gunicorn that have no equal.
IMPOSSIBLE = {
    "pre_fork": "the master runs no code of others: post_fork is called in the new worker",
    "pre_exec": "the master runs no code of others: an upgrade is rehearsed in a child",
    "worker_int": "workers are told to stop by their master: see worker_exit",
    "worker_abort": "a worker that hangs can run nothing: its stacks are logged instead",
    "ssl_context": "the certificates are those of [tls]",
}


def check(hooks: Mapping[str, str]) -> None:
    """Check the setting `hooks`, as far as that can be done without importing anything.

    Raises:
        UsageError: there is no such hook, or what is to be called can't be a function.
    """
    for name, function in hooks.items():
        if name in IMPOSSIBLE:
            raise UsageError(f"there is no hook {name}: {IMPOSSIBLE[name]}", "hooks")
        if name not in HOOKS:
            near = difflib.get_close_matches(name, HOOKS, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise UsageError(f"there is no hook {name}{hint}", "hooks")
        module, colon, attribute = function.rpartition(":")
        if not (module and colon and attribute):
            raise UsageError(
                f"hooks.{name} = {function!r}: expected module:function or file.py:function",
                "hooks",
            )
