"""The page docs/gunicorn-settings.md: what each setting of gunicorn is here, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prefork.gunicorn import EQUALS, WITHOUT
from prefork.hooks import HOOKS, IMPOSSIBLE
from prefork.settings import TABLE

# What differs under the same or another name; a test finds defaults that are not told of.
NOTES = {
    "wsgi_app": "`create_app('argument')` is none: a factory is called without arguments",
    "workers": '`"auto"` counts the CPUs that may be used',
    "worker_class": '`"gthread"` is `"threads"`; there is no eventlet, tornado or ASGI',
    "timeout": "of threads and gevent workers it bounds what holds up the loop, or a thread",
    "graceful_timeout": "also spelled `graceful_timeout`",
    "keepalive": "the default is 75 seconds, not 2; sync workers keep connections, too",
    "max_requests": "the new worker boots first, and then takes over",
    "limit_request_line": "the default is 8190, not 4094; not 0",
    "limit_request_fields": "not 0",
    "limit_request_field_size": "not 0",
    "preload_app": "a mold imports the app, for each generation; the master never does",
    "raw_env": "a table",
    "pythonpath": "a list",
    "forwarded_allow_ips": "a list; networks, too",
    "proxy_allow_ips": "a list; networks, too",
    "proxy_protocol": "true or false, for both versions",
    "umask": "the default is the shell's, not 0",
    "user": "the default is not to change it",
    "group": "the default is not to change it",
    "accesslog": 'the default is `""`, none',
    "control_socket": "another protocol: it is for preforkctl(1)",
    "cert_reqs": '0, 1, 2 are `"none"`, `"optional"`, `"required"`',
}

_HEAD = """\
<!-- Made by `make docs`. -->
# gunicorn's settings here

What each setting of gunicorn is called in prefork's TOML file, and what differs. The flags are
spelled as gunicorn's, so a command line stays what it is. [Coming from gunicorn](gunicorn.md) tells
what behaves differently.
"""
_WITHOUT_HEAD = """
## Without an equal

A flag of a setting that is not needed is accepted, with a line in the log; any other is refused,
with this reason. `prefork --import-gunicorn` says the same of a file.
"""
_HOOKS_HEAD = """
## Hooks

They have gunicorn's names and arguments, and stand in the table `[hooks]`: see HOOKS in
prefork.toml(5).
"""


def page() -> str:
    """The page, in Markdown."""
    lines = [
        _HEAD,
        *_table(("gunicorn", "prefork", "flags", "what differs"), _equals()),
        _WITHOUT_HEAD,
        *_table(("gunicorn", "", "why"), _without()),
        _HOOKS_HEAD,
        *_table(("hook", "where it is called", "when"), _hooks()),
    ]
    return "\n".join(lines) + "\n"


def _equals() -> Iterator[Sequence[str]]:
    for theirs, equal in EQUALS.items():
        flags = "APP" if equal.name == "app" else ", ".join(map(_code, TABLE[equal.name].flags))
        yield _code(theirs), _code(equal.name), flags, NOTES.get(theirs, "")


def _without() -> Iterator[Sequence[str]]:
    for name, (loss, why) in WITHOUT.items():
        yield _code(name), loss.value, why


def _hooks() -> Iterator[Sequence[str]]:
    for name, hook in HOOKS.items():
        yield _code(f"{name}({', '.join(hook.arguments)})"), hook.place.value, hook.when
    for name, why in IMPOSSIBLE.items():
        yield _code(name), "nowhere", why


def _table(titles: Sequence[str], rows: Iterator[Sequence[str]]) -> Iterator[str]:
    yield _row(titles)
    yield _row(["---"] * len(titles))
    yield from map(_row, rows)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _code(text: str) -> str:
    return f"`{text}`"
