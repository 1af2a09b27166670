"""The man pages and the sample configuration, made from the settings table and the command lines.

    python -m prefork.reference man     what man/prefork.1 is
    python -m prefork.reference ctl     what man/preforkctl.1 is
    python -m prefork.reference conf    what conf/prefork.toml is
    python -m prefork.reference gunicorn    what docs/gunicorn-settings.md is

The same code makes the same text on every machine and day: the version stands for the date.

The texts here are a little of Markdown: a blank line ends a paragraph, `backticks` are bold type,
and a paragraph that is indented is a command.
"""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import inspect

from prefork import __version__, beside
from prefork.config import parser, value_toml
from prefork.ctl.failure import EXIT_STATUS as CTL_EXIT_STATUS
from prefork.ctl.main import parser as ctl_parser
from prefork.errors import BootError, PreforkError, UsageError
from prefork.hooks import HOOKS
from prefork.settings import TABLE, Group, Setting
from prefork.signals import COMMANDS, Command

# TOML has no value that means "not set": these lines show one that could be.
INSTEAD_OF_NONE = {"umask": "0o022"}

_SAMPLE_WIDTH = 98
_MAN_WIDTH = 78

_SAMPLE_HEAD = f"""\
# The settings of prefork {__version__}, each at its default.
#
# To set one, take away the # before it. The command line and the PREFORK_ variables win over
# this file; `prefork -c FILE --print-config` shows what is in effect, and where it came from.
"""

_DESCRIPTION = """\
Serves a WSGI app (PEP 3333) over HTTP/1.1. A master process listens, accepts the connections and
keeps them; worker processes, which it forks, run the app. A connection is only lent to a worker:
whatever becomes of the worker, a connection on which no request was being executed goes on with
another.

`SIGHUP` replaces the workers, one at a time and the new one first. A new worker that fails to
boot ends the reload, and the old ones go on.

It stays in the foreground, and says on standard error what it does.
"""

_CONFIGURATION = """\
The file given with `-c` is TOML; its keys are named with the options above. A key that is no
setting, or a value that is not valid, is an error that names the file and the line. Those that
begin with `tls_` may stand in a table `[tls]`, without that.

A value on the command line wins over one from a `PREFORK_` variable, that over the file, the
file over `LISTEN_FDS`, `PORT`, `WEB_CONCURRENCY` and `FORWARDED_ALLOW_IPS`, and these over the
default.

A reload reads the file again; if it can't be used, nothing changes. What the master opens once
(addresses, pid file, logs) changes with a restart only.

This prints a file of comments with every setting:

    python -m prefork.reference conf
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

_ABOUT_HOOKS = """\
A table `[hooks]`, or `--hook`, names functions that are called at these moments:

    [hooks]
    post_fork = "mysite.hooks:post_fork"
    child_exit = "gunicorn.conf.py:child_exit"

A path of a file is relative to where the workers run. The master never runs code that is not its
own: what happens to it is told in a process that is forked for the call, as the user that the
workers run as, and killed after a minute. There are `server.pid`, `server.address`,
`server.num_workers`, `worker.pid`, `worker.slot`, `worker.generation`, and of both `cfg`, the
settings, and `log`, a logger. A request has `method`, `uri`, `path`, `query`, `headers` and
`remote_addr`; a response `status`, `status_code`, `headers` and `sent`, in bytes. A function of a
new worker that raises ends its boot, and so a reload.
"""

_ABOUT_LOGGING = """\
What the app logs by Python's standard library is the app's affair: prefork changes nothing there,
unless there is a table `[log]`:

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
    "conf/prefork.toml, conf/Procfile, conf/prefork.service, conf/prefork.socket, conf/nginx.conf, "
    "conf/haproxy.cfg, conf/kubernetes.yaml, conf/logrotate, conf/grafana.json": "Samples, in the "
    "source distribution.",
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

Completion of both commands, in `~/.bashrc`; likewise for zsh and fish:

    eval "$(python -m prefork.completion bash)"

What a factory makes, on a unix socket:

    prefork 'mysite:make()' -b unix:/run/mysite.sock

Try a configuration before it is used:

    prefork -c mysite.toml --check-config

Deploy new code:

    kill -HUP "$(cat mysite.pid)"
"""


_CTL_DESCRIPTION = """\
Asks the master of a running prefork what it does, and tells it what to do, over its control socket.
It finds the only master of this user by itself; where there are several, an option says which one.

`reload --wait` is made for scripts that deploy: it ends with status 0 only if every slot runs the
new code. A reload that is asked for while another is under way comes after that, and is what is
waited for. If the connection is lost because the master upgrades itself, it is asked for again.

In a terminal, and with the package `rich` (the extra `ctl`), it uses colours. With `--json` all is
written as JSON objects, one on each line: what the master has said, and `error` at the end where
the status is not 0.
"""

_CTL_FILES = {
    "$XDG_RUNTIME_DIR/prefork/PID.sock, /tmp/prefork-UID/PID.sock": "Control sockets, where the "
    "setting `control_socket` says nothing else.",
}

_CTL_EXAMPLES = """\
Deploy, and see whether that has worked:

    preforkctl reload --wait || exit 1

What hangs there?

    preforkctl stacks

Two workers more:

    preforkctl -c mysite.toml scale +2
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the text that the only argument names."""
    texts = {"man": man_page, "ctl": ctl_man_page, "conf": sample, "gunicorn": beside.page}
    command = argparse.ArgumentParser(prog="python -m prefork.reference")
    command.add_argument("text", choices=texts)
    print(texts[command.parse_args(arguments).text](), end="")


def valid_values(row: Setting) -> str:
    """What a setting may be, in words."""
    if row.choices:
        return " or ".join(value_toml(choice) for choice in row.choices)
    return _type_words(inspect.type_info(row.type))


def _type_words(kind: inspect.Type) -> str:
    match kind:
        case inspect.BoolType():
            return "true or false"
        case inspect.StrType():
            return "string"
        case inspect.IntType():
            return "whole number" + _bounds(kind)
        case inspect.FloatType():
            return "number" + _bounds(kind)
        case inspect.LiteralType(values):
            return " or ".join(value_toml(value) for value in values)
        case inspect.ListType(item_type=item):
            return f"list of {_type_words(item)}s"
        case inspect.DictType(value_type=inspect.AnyType()):
            return "table"
        case inspect.DictType(value_type=item):
            return f"table of {_type_words(item)}s"
        case inspect.UnionType(types):
            known = [one for one in types if not isinstance(one, inspect.NoneType)]
            return " or ".join(map(_type_words, known))
    raise NotImplementedError(f"no words for {kind}")


def _bounds(kind: inspect.IntType | inspect.FloatType) -> str:
    limits = {"above": kind.gt, "at least": kind.ge, "below": kind.lt, "at most": kind.le}
    said = [f"{word} {limit}" for word, limit in limits.items() if limit is not None]
    return f" ({', '.join(said)})" if said else ""


def _settings(group: Group) -> list[Setting]:
    return [row for row in TABLE.values() if row.option.group is group]


# The sample configuration.


def sample() -> str:
    """A TOML file of comments, in which every setting stands at its default."""
    lines = [_SAMPLE_HEAD]
    for group in Group:
        lines.append(f"\n# ---- {group.value} ----\n")
        for row in _settings(group):
            text = f"{row.option.help} Valid: {valid_values(row)}."
            lines += [f"# {line}" for line in _wrapped(text, _SAMPLE_WIDTH - 2)]
            value = INSTEAD_OF_NONE[row.name] if row.default is None else value_toml(row.default)
            lines.append(f"#{row.name} = {value}\n")
    return "\n".join(lines)


# The man page, in the macros of man(7).

_ROFF = str.maketrans(
    {"\\": r"\e", "-": r"\-", "'": r"\(aq", '"': r"\(dq", "^": r"\(ha", "~": r"\(ti"}
)


def man_page() -> str:
    """The man page prefork(1)."""
    exits = {str(code): text for code, text in EXIT_STATUS.items()}
    sections: dict[str, Iterable[str]] = {
        "NAME": [r"prefork \- serve a WSGI app from worker processes"],
        "SYNOPSIS": [r"\fBprefork\fR [\fIAPP\fR] [\fB\-c\fR \fIFILE\fR] [\fIoptions\fR]"],
        "DESCRIPTION": _prose(_DESCRIPTION),
        "OPTIONS": _options(),
        "CONFIGURATION FILE": _prose(_CONFIGURATION),
        "HOOKS": [*_prose(_ABOUT_HOOKS), *_list(_hooks())],
        "LOGGING": _prose(_ABOUT_LOGGING),
        "ENVIRONMENT": _list(_ENVIRONMENT),
        "SIGNALS": [*_list(_signals()), ".PP", *_prose(_TO_A_WORKER)],
        "EXIT STATUS": _list(exits),
        "FILES": _list(_FILES),
        "EXAMPLES": _prose(_EXAMPLES),
        "SEE ALSO": [".BR preforkctl (1),", ".BR kill (1),", ".BR nginx (8),", ".BR signal (7)"],
    }
    return _page("PREFORK", sections)


def ctl_man_page() -> str:
    """The man page preforkctl(1)."""
    command = ctl_parser()
    exits = {str(code): text for code, text in CTL_EXIT_STATUS.items()}
    sections: dict[str, Iterable[str]] = {
        "NAME": [r"preforkctl \- steer a running prefork, and see what it does"],
        "SYNOPSIS": [
            r"\fBpreforkctl\fR [\fIoptions\fR] \fICOMMAND\fR [\fIoptions\fR] [\fIarguments\fR]"
        ],
        "DESCRIPTION": _prose(_CTL_DESCRIPTION),
        "COMMANDS": _commands(command),
        "OPTIONS": _actions(command),
        "EXIT STATUS": _list(exits),
        "FILES": _list(_CTL_FILES),
        "EXAMPLES": _prose(_CTL_EXAMPLES),
        "SEE ALSO": [".BR prefork (1)"],
    }
    return _page("PREFORKCTL", sections)


def _page(name: str, sections: Mapping[str, Iterable[str]]) -> str:
    lines = [
        r".\" Made by `make docs`.",
        f'.TH {name} 1 "" "prefork {__version__}" "User Commands"',
    ]
    for title, content in sections.items():
        lines += [f".SH {title}", *content]
    return "\n".join(lines) + "\n"


def _commands(command: argparse.ArgumentParser) -> Iterator[str]:
    """The commands, each with what follows it, and its own options."""
    (commands,) = (each for each in command._actions if each.nargs == argparse.PARSER)
    assert isinstance(commands.choices, dict)
    common = {action.dest for action in command._actions}
    for name, each in commands.choices.items():
        own = [action for action in each._actions if action.dest not in common]
        arguments = "".join(f" {_argument(action)}" for action in own if not action.option_strings)
        yield from _item(rf"\fB{_escaped(name)}\fR{arguments}", each.description or "")
        for action in own:
            if action.option_strings:
                yield ".RS"
                yield from _item(_synopsis(action), _sentence(action.help or ""))
                yield ".RE"


def _argument(action: argparse.Action) -> str:
    name = rf"\fI{_escaped(str(action.metavar))}\fR"
    return f"[{name} ...]" if action.nargs == "*" else name


def _actions(command: argparse.ArgumentParser) -> Iterator[str]:
    for action in command._actions:
        if action.option_strings:
            yield from _item(_synopsis(action), _sentence(action.help or ""))


def _options() -> Iterator[str]:
    actions = {action.dest: action for action in parser()._actions}
    for dest, action in actions.items():
        if dest not in TABLE and dest not in ("APP", "ignored"):
            yield from _item(_synopsis(action), _sentence(action.help or ""))
    for group in Group:
        yield f".SS {_escaped(group.value)}"
        for row in _settings(group):
            action = actions["APP" if row.name == "app" else row.name]
            yield from _item(_synopsis(action), row.option.help)
            yield ".br"
            yield from _prose(_facts(row))


def _synopsis(action: argparse.Action) -> str:
    """How an option is written: its flags and what follows them."""
    if not action.option_strings:
        return rf"\fI{_escaped(action.dest)}\fR"
    flags = ", ".join(rf"\fB{_escaped(flag)}\fR" for flag in action.option_strings)
    return rf"{flags} \fI{_escaped(str(action.metavar))}\fR" if action.metavar else flags


def _facts(row: Setting) -> str:
    key = f"`{row.name}`" + (f" (or `{row.option.alias}`)" if row.option.alias else "")
    default = "" if row.default in ("", None, [], {}) else f" Default: {value_toml(row.default)}."
    return f"Key {key}, variable `{row.variable}`. Valid: {valid_values(row)}.{default}"


def _signals() -> dict[str, str]:
    """What the master is told, by the names of the signals that tell it."""
    names: dict[Command, list[str]] = {}
    for number, command in COMMANDS.items():
        names.setdefault(command, []).append(number.name)
    return {", ".join(names[command]): _sentence(command.value) for command in names}


def _hooks() -> dict[str, str]:
    return {
        f"{name}({', '.join(hook.arguments)})": f"{hook.when} Called {hook.place.value}."
        for name, hook in HOOKS.items()
    }


def _list(items: Mapping[str, str]) -> Iterator[str]:
    for term, text in items.items():
        yield from _item(rf"\fB{_escaped(term)}\fR", text)


def _item(term: str, text: str) -> list[str]:
    return [".TP", term, *_prose(text)]


def _prose(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(text.rstrip().split("\n\n")):
        if number:
            yield ".PP"
        if paragraph.startswith("    "):
            yield from (".RS 4", ".EX", *_command(paragraph), ".EE", ".RE")
            continue
        bold = re.sub(r"`(.*?)`", r"\\fB\1\\fR", _escaped(paragraph), flags=re.DOTALL)
        for line in _wrapped(bold, _MAN_WIDTH):
            # A line that begins with a dot would be a command.
            yield rf"\&{line}" if line.startswith(".") else line


def _command(paragraph: str) -> Iterator[str]:
    for line in textwrap.dedent(paragraph).splitlines():
        yield _escaped(line)


def _escaped(text: str) -> str:
    """Text in which roff finds nothing that means something to it, dots in front aside."""
    return text.translate(_ROFF)


# Text.


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


if __name__ == "__main__":
    main()
