"""The command `preforkctl`."""

from __future__ import annotations

import argparse
import math
import os
import select
import sys
from collections.abc import Callable, Sequence
from time import monotonic

from prefork import __version__
from prefork.ctl import text
from prefork.ctl.connection import Connection
from prefork.ctl.failure import ConnectionLost, CtlError, ReloadFailed, TimedOut
from prefork.ctl.find import find
from prefork.ctl.memory import with_memory
from prefork.ctl.output import Output, output
from prefork.ctl.top import top
from prefork.errors import PreforkError
from prefork.wire import control
from prefork.wire.control import Done, Progress, Reloaded, Stacks

# A master that does not answer within so many seconds can't be expected to.
_PATIENCE = 10.0
# So many times a reload is asked for anew, when the connection is lost: at an upgrade it is.
_TRIES = 3

DESCRIPTION = "Ask a running prefork what it does, and tell it what to do."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: those of the command line, by default sys.argv's.

    Returns:
        The exit status: see `failure`.
    """
    options = parser().parse_args(arguments, _defaults())
    shown = output(options.json)
    try:
        COMMANDS[options.command](options, shown)
    except ReloadFailed as error:
        shown.failure(str(error), error.exit_code, error.trace)
        return error.exit_code
    except PreforkError as error:
        shown.failure(str(error), error.exit_code)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever has read our output has had enough; Python would say so at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _defaults() -> argparse.Namespace:
    """What options are that were not given, before the command or after it."""
    return argparse.Namespace(
        socket=None, pid=None, pidfile=None, config=None, json=False, timeout=None
    )


def parser() -> argparse.ArgumentParser:
    """The command line."""
    common = _common()
    result = argparse.ArgumentParser(
        prog="preforkctl",
        description=DESCRIPTION,
        parents=[common],
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    result.add_argument("--version", action="version", version=f"preforkctl {__version__}")
    commands = result.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, help: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name, help=help, description=help, parents=[common], allow_abbrev=False
        )

    command("status", "Show the master and its workers.")
    reload = command("reload", "Replace every worker by one with the code and settings of now.")
    reload.add_argument(
        "--wait",
        action="store_true",
        help="Show what happens, and end when it has: with status 0 only if every slot runs the "
        "new code, else with the traceback of what has failed.",
    )
    stop = command("stop", "Stop; requests that are being executed may take kill_timeout.")
    stop.add_argument("--wait", action="store_true", help="End when the master has.")
    stop.add_argument(
        "--quick", action="store_true", help="Requests that are being executed get one second."
    )
    scale = command("scale", "Have N workers, or N more, or fewer.")
    scale.add_argument("count", metavar="N|+N|-N", type=_count, help="How many.")
    command("reopen-logs", "Open the log files again, after they were rotated.")
    retire = command("retire", "Replace the worker of a slot, the new one first.")
    retire.add_argument("slot", metavar="SLOT", type=int, help="Which slot.")
    stacks = command("stacks", "Show what every request is doing right now: the workers' stacks.")
    stacks.add_argument(
        "slots", metavar="SLOT", type=int, nargs="*", help="Only of the workers in these slots."
    )
    live = command("top", "Show rates, workers and the slowest requests, over and over.")
    live.add_argument(
        "--interval", metavar="SECONDS", type=_seconds, default=1.0, help="Between two looks."
    )
    live.add_argument(
        "--count", metavar="N", type=int, default=0, help="So many looks; 0 for no end."
    )
    return result


def _common() -> argparse.ArgumentParser:
    """The options that stand before the command, or after it."""
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    which = common.add_argument_group(
        "which master (by default the only one of this user)"
    ).add_mutually_exclusive_group()
    which.add_argument("-c", "--config", metavar="FILE", help="The one with this configuration.")
    which.add_argument("-p", "--pidfile", metavar="FILE", help="The one whose pid is in this file.")
    which.add_argument("--pid", metavar="PID", type=int, help="The one with this pid.")
    which.add_argument("--socket", metavar="PATH", help="The one with this control socket.")
    common.add_argument(
        "--json", action="store_true", help="Write what the master says as JSON, an object a line."
    )
    common.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        help="Give up waiting after this time; by default 10, and never with --wait.",
    )
    return common


def _seconds(value: str) -> float:
    seconds = float(value)
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError("expected a number of seconds above 0")
    return seconds


def _count(value: str) -> control.Scale:
    try:
        return control.Scale(count=int(value), relative=value[:1] in "+-")
    except ValueError:
        raise argparse.ArgumentTypeError("expected N, +N or -N") from None


# The commands.


def _connect(options: argparse.Namespace) -> Connection:
    return Connection(find(options), _deadline(options))


def _deadline(options: argparse.Namespace) -> float:
    if options.timeout is not None:
        return monotonic() + float(options.timeout)
    return math.inf if getattr(options, "wait", False) else monotonic() + _PATIENCE


def _status(options: argparse.Namespace, shown: Output) -> None:
    status = with_memory(_connect(options).status())
    shown.status(status, text.head(status), text.rows(status))


def _do(options: argparse.Namespace, shown: Output, request: control.Request) -> None:
    """Ask for something that is done at once."""
    done = _connect(options).ask(request, Done)
    shown.answer(done, [done.what])


def _reload(options: argparse.Namespace, shown: Output) -> None:
    if not options.wait:
        _do(options, shown, control.Reload())
        return
    connection = _connect(options)
    for _ in range(_TRIES):
        try:
            end = _follow(connection, shown)
            break
        except ConnectionLost:
            connection = _again(connection)
    else:
        raise ConnectionLost("the connection to the master is lost, over and over")
    shown.answer(end, [text.reloaded(end)] if end.good else [])
    if not end.good:
        raise ReloadFailed(text.reloaded(end), end.trace)


def _follow(connection: Connection, shown: Output) -> Reloaded:
    """Ask for a reload, and show what happens, up to its end."""
    connection.send(control.Reload(wait=True))
    while True:
        answer = connection.receive()
        if isinstance(answer, Reloaded):
            return answer
        if isinstance(answer, Progress):
            shown.answer(answer, [text.progress(answer)])


def _again(lost: Connection) -> Connection:
    """Connect again: a master that upgrades itself lets go of its clients, and is back soon."""
    try:
        return Connection(lost.path, lost.deadline)
    except CtlError as error:
        raise ConnectionLost(f"the master has ended: {error}") from None


def _stop(options: argparse.Namespace, shown: Output) -> None:
    connection = _connect(options)
    process = connection.process() if options.wait else None
    done = connection.ask(control.Stop(quick=options.quick), Done)
    shown.answer(done, [done.what])
    if process is not None:
        _await_end(process, connection.deadline)
        shown.answer(Done(what="stopped"), ["stopped"])


def _await_end(process: int, deadline: float) -> None:
    """Wait for a process to end, by its pidfd: pidfd_open(2)."""
    left = max(0.0, deadline - monotonic())
    if not select.select([process], [], [], None if left == math.inf else left)[0]:
        raise TimedOut("the master has not ended within --timeout; it is about to")


def _stacks(options: argparse.Namespace, shown: Output) -> None:
    connection = _connect(options)
    connection.send(control.GetStacks(slots=options.slots))
    while isinstance(answer := connection.receive(), Stacks):
        shown.answer(answer, text.stacks(answer))


def _top(options: argparse.Namespace, shown: Output) -> None:
    top(lambda: Connection(find(options), math.inf), options)


COMMANDS: dict[str, Callable[[argparse.Namespace, Output], None]] = {
    "status": _status,
    "reload": _reload,
    "stop": _stop,
    "scale": lambda options, shown: _do(options, shown, options.count),
    "reopen-logs": lambda options, shown: _do(options, shown, control.ReopenLogs()),
    "retire": lambda options, shown: _do(options, shown, control.Retire(slot=options.slot)),
    "stacks": _stacks,
    "top": _top,
}
