"""The man page prefork(1): the command. What the settings mean, prefork.toml(5) says."""

from __future__ import annotations

from collections.abc import Iterator

from prefork.config import parser
from prefork.errors import BootError, PreforkError, UsageError
from prefork.settings import TABLE, Group
from prefork.signals import COMMANDS, Command
from reference import roff
from reference.options import options, synopsis
from reference.words import sentence, settings

_DESCRIPTION = """\
Serves a WSGI app (PEP 3333) over HTTP/1.1. A master process listens, accepts the connections and
keeps them; worker processes, which it forks, run the app. A connection is only lent to a worker:
whatever becomes of the worker, a connection on which no request was being executed goes on with
another.

`SIGHUP` replaces the workers, one at a time and the new one first. A new worker that fails to
boot ends the reload, and the old ones go on.

It stays in the foreground, and says on standard error what it does.
"""

_ABOUT_OPTIONS = """\
The others are settings, which can also be set by a file and by variables of the environment.
prefork.toml(5) says all there is to say of each, under the same headings.
"""

_ENVIRONMENT = {
    "PORT": "Port to listen on, at every IPv4 address of the host, where `bind` is not set.",
    "LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES": "Sockets that systemd passes, to listen on where "
    "`bind` is not set: sd_listen_fds(3).",
    "NOTIFY_SOCKET, WATCHDOG_USEC": "Where systemd is told that the service is ready once a worker "
    "is, that it reloads or stops, and that the master lives: sd_notify(3).",
    "WEB_CONCURRENCY": "Number of workers, or `auto`, where `workers` is not set.",
    "FORWARDED_ALLOW_IPS": "Trusted proxies, where `forwarded_allow_ips` is not set.",
    "PREFORK_CONFIG": "The configuration file, where `-c` is not given.",
    "PREFORK_*": "The setting of that name, as in `PREFORK_LOG_LEVEL=debug`. Several values are "
    "separated by commas; those of `PREFORK_ENV` have the form KEY=VALUE.",
}

_TO_A_WORKER = """\
A worker that gets `SIGTERM` is replaced first; then it finishes its requests and exits.
"""

EXIT_STATUS = {
    0: "Stopped as it was told to, or `--check-config` found nothing wrong.",
    PreforkError.exit_code: "Failed for a reason that is not listed below.",
    UsageError.exit_code: "The command line or the configuration can't be used, or what it names: "
    "an address, a file, a user.",
    BootError.exit_code: "No worker booted at the start: the app can't be imported, has raised "
    "an exception, or was not ready in time.",
}

_FILES = {
    "PREFIX/share/doc/prefork": "Samples: prefork.toml, units for systemd, and more. PREFIX is "
    "where prefork is installed, such as a virtual environment.",
    "/proc/sys/net/core/somaxconn": "The most that the kernel lets `backlog` be.",
    "/proc/self/cgroup, /sys/fs/cgroup": "The control groups, of versions 1 and 2, whose quotas "
    '`workers = "auto"` does not exceed.',
}

_EXAMPLES = """\
The demo, with two workers:

    prefork prefork.demo:app -w 2

The app of this directory (app.py, wsgi.py, main.py, or that of Django's manage.py), while it is
being written:

    prefork --reload

What a factory makes, on a unix socket:

    prefork 'mysite:make()' -b unix:/run/mysite.sock

Try a configuration before it is used:

    prefork -c mysite.toml --check-config

Deploy new code:

    kill -HUP "$(cat mysite.pid)"

bash and fish find the completion of both commands that is installed, where they look for such.
Where they do not, and in zsh, this is for `~/.bashrc`, or with `zsh` for `~/.zshrc` after compinit:

    eval "$(python -m prefork.completion bash)"
"""


def page() -> str:
    """The page, in roff."""
    return roff.page(
        "prefork",
        1,
        {
            "NAME": [r"prefork \- serve a WSGI app from worker processes"],
            "SYNOPSIS": [r"\fBprefork\fR [\fIAPP\fR] [\fB\-c\fR \fIFILE\fR] [\fIoptions\fR]"],
            "DESCRIPTION": roff.prose(_DESCRIPTION),
            "OPTIONS": _options(),
            "ENVIRONMENT": roff.definitions(_ENVIRONMENT),
            "SIGNALS": [*roff.definitions(_signals()), ".PP", *roff.prose(_TO_A_WORKER)],
            "EXIT STATUS": roff.definitions({str(code): why for code, why in EXIT_STATUS.items()}),
            "FILES": roff.definitions(_FILES),
            "EXAMPLES": roff.prose(_EXAMPLES),
            "SEE ALSO": roff.see("preforkctl(1)", "prefork.toml(5)", "nginx(8)", "signal(7)"),
        },
    )


def _options() -> Iterator[str]:
    """First those that are no settings."""
    actions = {action.dest: action for action in parser()._actions}
    yield from options(
        action for dest, action in actions.items() if dest not in (*TABLE, "APP", "ignored")
    )
    yield from (".PP", *roff.prose(_ABOUT_OPTIONS))
    for group in Group:
        yield f".SS {roff.escaped(group.value)}"
        for row in settings(group):
            action = actions["APP" if row.name == "app" else row.name]
            yield from roff.item(synopsis(action), _first_sentence(row.option.help))


def _first_sentence(text: str) -> str:
    return sentence(text.partition(". ")[0])


def _signals() -> dict[str, str]:
    """What the master is told, by the names of the signals that tell it."""
    names: dict[Command, list[str]] = {}
    for number, command in COMMANDS.items():
        names.setdefault(command, []).append(number.name)
    return {", ".join(names[command]): sentence(command.value) for command in names}
