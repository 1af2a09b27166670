"""The man page prefork.toml(5): every setting, and the file that sets them."""

from __future__ import annotations

from collections.abc import Iterator

from prefork.config import value_toml
from prefork.hooks import HOOKS
from prefork.settings import Group, Setting
from reference import roff
from reference.words import settings, valid_values

_DESCRIPTION = """\
The settings of prefork(1), in TOML (https://toml.io), encoded in UTF-8. A key is the name of a
setting; `[env]`, `[hooks]`, `[log]` and `[tls]` are tables. The file may be empty, or lack what is
set elsewhere.

It is read from the path given with `-c`, or else in `PREFORK_CONFIG`. Without these there is none:
no place is searched for one.

A key that is no setting, or a value that is not valid, is an error that names the file and the
line; then nothing starts, and nothing is reloaded. `prefork -c FILE --check-config` looks for such
errors and imports the app.

Relative paths are relative to where prefork was started; those of `pythonpath`, and of files in
`[hooks]`, to `chdir`.
"""

_ABOUT_PRECEDENCE = """\
A setting can be given in several places. The first of these that gives it counts, and counts whole:
lists and tables are not merged.
"""

_PRECEDENCE = {
    "1. The command line": "A flag for each setting, such as `--log-level`. Lists and tables by "
    "repeating the flag, but `log` as JSON.",
    "2. PREFORK_ variables": "Such as `PREFORK_LOG_LEVEL`. Lists and tables with commas, "
    "but `log` as JSON.",
    "3. The file": "Such as `log_level`.",
    "4. The platform": "`LISTEN_FDS`, `PORT`, `WEB_CONCURRENCY` and `FORWARDED_ALLOW_IPS`: see "
    "ENVIRONMENT in prefork(1).",
    "5. The default": "As listed here.",
}

_SHOW = """\
`prefork --print-config` prints all settings in this form, each with the place that it came from.
"""

_CHANGES = """\
A reload reads the file anew; the environment and the command line stay what they were at the start.
If the file can't be used, the reload is refused, and nothing changes. Otherwise new workers have
the new settings from their first moment on, and the master has those that concern it when the
reload is done; one that is aborted has changed nothing of these. Certificates are the exception:
they hold before the first new worker boots.

What the master opens once, such as addresses and logs, changes at a restart only: SETTINGS says so
where that is the case. A changed one is logged as a warning at a reload, and ignored.
"""

_ABOUT_ENV = """\
A table of variables for the app. They are set in each new worker before anything of the app's is
imported, and where hooks are called. A variable that was taken out of the table is gone with the
workers that had it.

    [env]
    DJANGO_SETTINGS_MODULE = "mysite.settings"
"""

_ABOUT_TLS = """\
Settings that begin with `tls_` may stand in this table, without that; in both places is an error.
`hosts` is a table within it.

    [tls]
    certificate = "/etc/mysite/fullchain.pem"
    key = "/etc/mysite/key.pem"
    hosts = { "*.example.org" = "/etc/mysite/org.pem:/etc/mysite/org.key" }
"""

_ABOUT_HOOKS = """\
A table of functions that are called at certain moments:

    [hooks]
    post_fork = "mysite.hooks:post_fork"
    child_exit = "gunicorn.conf.py:child_exit"

The master never runs code that is not its own: what happens to it is told in a process that is
forked for the call, as the user that the workers run as, and killed after a minute. There are
`server.pid`, `server.address`, `server.num_workers`, `worker.pid`, `worker.slot`,
`worker.generation`, and of both `cfg`, the settings, and `log`, a logger. A request has `method`,
`uri`, `path`, `query`, `headers` and `remote_addr`; a response `status`, `status_code`, `headers`
and `sent`, in bytes. A function of a new worker that raises ends its boot, and so a reload.
"""

_ABOUT_LOGGING = """\
What the app logs by Python's standard library is the app's affair: prefork changes nothing there,
unless there is a table `[log]`, in the form of logging.config.dictConfig:

    [log.handlers.file]
    class = "logging.handlers.WatchedFileHandler"
    filename = "/var/log/mysite.log"

    [log.root]
    level = "INFO"
    handlers = ["file"]

Without saying so its `version` is 1, and `disable_existing_loggers` false. It holds in the workers,
and where hooks are called, as the user that these run as. What workers log themselves goes to
`error_log`, unless the table has a logger `prefork` with handlers of its own. The master runs no
code of others and waits for nobody: its lines go to `error_log` in any case, and access logs to
`access_log`. At the start a table that can't be used is refused, with status 2; so is a reload
that brings one. Its handlers are not told of `SIGUSR1`.
"""

_FILES = {
    "PREFIX/share/doc/prefork/prefork.toml": "A sample: a file of comments, in which each setting "
    "stands at its default. PREFIX is where prefork is installed, such as a virtual environment.",
}

_EXAMPLES = """\
A site of Django's behind nginx:

    app = "mysite.wsgi"
    chdir = "/srv/mysite/current"
    bind = ["unix:/run/mysite/http.sock"]
    workers = "auto"
    max_memory = "512M"
    access_log = "/var/log/mysite/access.log"

    [env]
    DJANGO_SETTINGS_MODULE = "mysite.settings"

A service that waits for others, in front of which a load balancer asks whether it is ready:

    app = "mysite:make()"
    bind = ["0.0.0.0:8000"]
    workers = 4
    worker_class = "threads"
    threads = 16
    request_timeout = 20
    ready_path = "/healthz"
    drain_delay = 10

At the edge, with TLS, and without TLS at another port:

    app = "mysite:app"
    bind = ["0.0.0.0:443", "http://0.0.0.0:80"]
    user = "www-data"
    group = "www-data"
    request_timeout = 30
    limit_request_body = 10_000_000

    [tls]
    certificate = "/etc/mysite/fullchain.pem"
    key = "/etc/mysite/key.pem"
"""


def page() -> str:
    """The page, in roff."""
    return roff.page(
        "prefork.toml",
        5,
        {
            "NAME": [r"prefork.toml \- settings of prefork"],
            "DESCRIPTION": roff.prose(_DESCRIPTION),
            "PRECEDENCE": _precedence(),
            "RELOADS": roff.prose(_CHANGES),
            "SETTINGS": _settings(),
            "ENV": roff.prose(_ABOUT_ENV),
            "TLS": roff.prose(_ABOUT_TLS),
            "HOOKS": [*roff.prose(_ABOUT_HOOKS), *roff.definitions(_hooks())],
            "LOG": roff.prose(_ABOUT_LOGGING),
            "FILES": roff.definitions(_FILES),
            "EXAMPLES": roff.prose(_EXAMPLES),
            "SEE ALSO": roff.see("prefork(1)", "preforkctl(1)"),
        },
    )


def _precedence() -> Iterator[str]:
    yield from roff.prose(_ABOUT_PRECEDENCE)
    yield from roff.definitions(_PRECEDENCE)
    yield from (".PP", *roff.prose(_SHOW))


def _settings() -> Iterator[str]:
    for group in Group:
        yield f".SS {roff.escaped(group.value)}"
        for row in settings(group):
            yield from roff.item(roff.bold(row.name), row.option.help)
            for facts in _facts(row):
                yield from (".br", *roff.prose(facts))


def _facts(row: Setting) -> Iterator[str]:
    default = "" if row.default in ("", None, [], {}) else f" Default: {value_toml(row.default)}."
    yield f"Valid: {valid_values(row)}.{default}"
    flags = "`APP`" if row.name == "app" else ", ".join(f"`{flag}`" for flag in row.flags)
    alias = f" Also spelled `{row.option.alias}`." if row.option.alias else ""
    yield f"Command line: {flags}. Variable: `{row.variable}`.{alias}"
    if row.option.fixed:
        yield "A change takes effect at a restart."


def _hooks() -> dict[str, str]:
    return {
        f"{name}({', '.join(hook.arguments)})": f"{hook.when} Called {hook.place.value}."
        for name, hook in HOOKS.items()
    }
