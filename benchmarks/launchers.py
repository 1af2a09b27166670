"""Start a server that has no command line, or none that says what is needed here.

python launchers.py SERVER MODULE:ATTR PORT WORKERS
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

App = Callable[..., Any]
HOST = "127.0.0.1"

_ANY = 100_000  # connections


def run_bjoern(app: App, port: int, workers: int) -> None:
    """bjoern has no processes of its own: it is forked when it listens, as its manual has it."""
    import bjoern

    bjoern.listen(app, HOST, port)
    children = [os.fork()] if workers > 1 else []
    while children and children[-1] and len(children) < workers:
        children.append(os.fork())
    if children and children[-1]:
        os.wait()
    else:
        bjoern.run()


def run_cheroot(app: App, port: int, workers: int) -> None:
    """cheroot keeps only 10 idle connections unless it is told otherwise."""
    from cheroot.wsgi import Server

    server = Server((HOST, port), app, request_queue_size=1024, timeout=120)
    server.keep_alive_conn_limit = _ANY
    server.start()


def run_fastpysgi(app: App, port: int, workers: int) -> None:
    import fastpysgi

    fastpysgi.run(app, HOST, port, workers=workers)


LAUNCHERS = {"bjoern": run_bjoern, "cheroot": run_cheroot, "fastpysgi": run_fastpysgi}

if __name__ == "__main__":
    name, target, *numbers = sys.argv[1:]
    module, _, attribute = target.partition(":")
    app = getattr(importlib.import_module(module), attribute)
    LAUNCHERS[name](app, *map(int, numbers))
