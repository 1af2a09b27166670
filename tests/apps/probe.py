"""An app that shows from inside what a worker is like, and that can be held up.

/hold?NAME  creates the file NAME.begun, and answers when there is a file NAME.go
/process    the directory, module path, user and so on, as JSON
/environ    what the environ of this request holds of text, as JSON
/child      /proc/self/status of a program that the app executes
/errors     writes its query to wsgi.errors
/die        kills the worker
/orphan     has a program whose parent ends before it does
/variables  the environment of the worker, as JSON
/name       what the app was given as PROBE in its environment
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

Environ = dict[str, Any]


def app(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
    answer = _PATHS[environ["PATH_INFO"]](environ)
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def _who(environ: Environ) -> bytes:
    return f"{environ['prefork.slot']} {environ['prefork.generation']} {os.getpid()}".encode()


def _hold(environ: Environ) -> bytes:
    name = environ["QUERY_STRING"]
    with open(f"{name}.begun", "w"):
        pass
    while not os.path.exists(f"{name}.go"):
        time.sleep(0.005)
    return b"held\n"


def _process(environ: Environ) -> dict[str, Any]:
    umask = os.umask(0)
    os.umask(umask)
    return {
        "cwd": os.getcwd(),
        "path": sys.path,
        "uids": os.getresuid(),
        "gids": os.getresgid(),
        "groups": os.getgroups(),
        "umask": umask,
    }


def _environ(environ: Environ) -> dict[str, str]:
    return {key: value for key, value in environ.items() if isinstance(value, str)}


def _child(environ: Environ) -> bytes:
    return subprocess.run(["cat", "/proc/self/status"], capture_output=True, check=True).stdout


def _errors(environ: Environ) -> bytes:
    environ["wsgi.errors"].write(environ["QUERY_STRING"] + "\n")
    return b"written\n"


def _die(environ: Environ) -> bytes:
    os.kill(os.getpid(), signal.SIGKILL)
    return b""


def _orphan(environ: Environ) -> bytes:
    subprocess.run(["sh", "-c", "sleep 0.05 & exit 0"], check=True)
    return b"orphaned\n"


def _name(environ: Environ) -> bytes:
    return os.environ.get("PROBE", "").encode()


_PATHS: dict[str, Callable[[Environ], bytes | dict[str, Any]]] = {
    "/": _who,
    "/hold": _hold,
    "/process": _process,
    "/environ": _environ,
    "/child": _child,
    "/errors": _errors,
    "/die": _die,
    "/name": _name,
    "/orphan": _orphan,
    "/variables": lambda environ: dict(os.environ),
}
