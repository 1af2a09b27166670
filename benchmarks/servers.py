"""The servers that are measured, one row each: where it comes from, how it is started, what not.

A command is given the app, a port of 127.0.0.1 and the number of workers. It changes no default
that the loads don't need changed: quiet logs, and in `many` what it takes to hold 10 000
connections.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
VENV = PROJECT / ".venv-bench"
YARDSTICK = "bjoern"  # the server that the others' CPU is compared with
LAUNCHERS = Path(__file__).resolve().parent / "launchers.py"


@dataclass(frozen=True)
class Server:
    """A server and the way it is run.

    `requirements` are what pip installs, `package` is the one whose version counts, `header` is
    a file without which it can't be built. `unable` says why a load makes no sense for it;
    `only` names the loads it is measured with, all if empty.
    """

    name: str
    title: str
    written_in: str
    package: str
    requirements: tuple[str, ...]
    command: str
    many: str = ""
    header: str = ""
    unable: dict[str, str] = field(default_factory=dict)
    only: tuple[str, ...] = ()

    @property
    def ours(self) -> bool:
        """Whether it is what the others are there to be compared with."""
        return self.package == "prefork"

    def packages(self) -> set[str]:
        """The names, in lower case, of what has to be installed to run it."""
        names = () if self.ours else self.requirements
        return {name.lower() for name in (self.package, *names)}

    def argv(self, app: str, port: int, workers: int, many: bool) -> list[str]:
        """The command that starts it; its first word is a file of the environment's bin/."""
        words = shlex.split(self.command.replace("{many}", self.many if many else ""))
        return [word.format(app=app, port=port, workers=workers, venv=VENV) for word in words]


def _prefork(name: str, title: str, options: str, only: tuple[str, ...] = ()) -> Server:
    return Server(
        name,
        f"prefork {title}",
        "Python",
        "prefork",
        ("--editable", str(PROJECT)),
        "prefork {app} -b 127.0.0.1:{port} -w {workers} --log-level warning {many} " + options,
        many="--worker-connections 12000",
        only=only,
    )


def _gunicorn(
    name: str,
    title: str,
    options: str,
    requirements: tuple[str, ...] = (),
    unable: dict[str, str] | None = None,
    only: tuple[str, ...] = (),
) -> Server:
    return Server(
        name,
        f"gunicorn {title}",
        "Python",
        "gunicorn",
        ("gunicorn", *requirements),
        "gunicorn {app} -b 127.0.0.1:{port} -w {workers} --log-level warning --no-control-socket"
        " {many} " + options,
        many="--worker-connections 12000 --keep-alive 75",
        unable=unable or {},
        only=only,
    )


def _launched(name: str, written_in: str, header: str = "", **unable: str) -> Server:
    command = f"{shlex.quote(str(LAUNCHERS))} {name} {{app}} {{port}} {{workers}}"
    return Server(
        name,
        name,
        written_in,
        name,
        (name,),
        f"python {command}",
        header=header,
        unable=unable,
    )


ONE_PROCESS = "is one process and has no workers"

SERVERS = (
    _prefork("prefork-sync", "sync", "-k sync"),
    _prefork("prefork-threads", "threads, 4 threads", "-k threads --threads 4"),
    _prefork("prefork-gevent", "gevent", "-k gevent"),
    _prefork("prefork-sync-shared", "sync, shared", "-k sync --dispatch shared"),
    _prefork("prefork-preload", "sync, preload", "-k sync --preload", only=("memory",)),
    _gunicorn("gunicorn-sync", "sync", "-k sync", unable={"idle": "has no keep-alive"}),
    _gunicorn("gunicorn-gthread", "gthread, 4 threads", "-k gthread --threads 4"),
    _gunicorn("gunicorn-gthread-1", "gthread, 1 thread", "-k gthread --threads 1", only=("mix",)),
    _gunicorn("gunicorn-preload", "sync, preload", "-k sync --preload", only=("memory",)),
    _gunicorn("gunicorn-gevent", "gevent", "-k gevent", ("gevent", "packaging")),
    Server(
        "uwsgi",
        "uWSGI",
        "C",
        "uWSGI",
        ("uWSGI",),
        # Of its ways to speak HTTP only the router keeps connections without a worker for each.
        "uwsgi --http 127.0.0.1:{port} --http-keepalive=75 --module {app} --processes {workers}"
        " --master --die-on-term --need-app --disable-logging --virtualenv {venv}",
    ),
    Server(
        "granian",
        "granian",
        "Rust",
        "granian",
        ("granian",),
        "granian --interface wsgi --host 127.0.0.1 --port {port} --workers {workers}"
        " --log-level warning {many} {app}",
        many="--backlog 12000 --backpressure 12000",
    ),
    Server(
        "waitress",
        "waitress, 4 threads",
        "Python",
        "waitress",
        ("waitress",),
        "waitress-serve --listen 127.0.0.1:{port} --threads 4 {many} {app}",
        many="--connection-limit 12000 --asyncore-use-poll",
        unable={"mix": ONE_PROCESS, "memory": ONE_PROCESS},
    ),
    _launched("cheroot", "Python", mix=ONE_PROCESS, memory=ONE_PROCESS),
    _launched("bjoern", "C", header="/usr/include/ev.h"),
    _launched("fastpysgi", "C"),
)
