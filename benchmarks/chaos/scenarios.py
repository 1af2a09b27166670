"""The scenarios, one row each: what is done to the server, and what has to hold besides."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.chaos.clients import Swarm, pair, plain, split
from benchmarks.chaos.target import Target, alive, eventually, port_is_free
from benchmarks.chaos.trial import Trial

# A request counts as sent at the moment at which a worker retires if it is sent so soon after.
_MOMENT = 0.005
# A reload is under way so many seconds after its signal.
_UNDER_WAY = 0.05


@dataclass(frozen=True)
class Scenario:
    """`letter` names it, `title` says what is done; `ours_only`: other servers don't know this."""

    letter: str
    title: str
    play: Callable[[Trial], None]
    ours_only: bool = False


def _reloads(trial: Trial, close: bool) -> None:
    scale = trial.scale
    with trial.target() as target, trial.clients(target, close=close) as clients:
        for _ in range(scale.reloads):
            trial.reload(target)
            if not target.lives:
                return
        clients.wait_for(scale.requests)


def reloads(trial: Trial) -> None:
    """(a) Reload after reload, clients that keep their connections."""
    _reloads(trial, close=False)


def reloads_close(trial: Trial) -> None:
    """(b) The same, a connection per request."""
    _reloads(trial, close=True)


def moments(trial: Trial) -> None:
    """(c) Requests that are sent at the moment at which a worker retires."""
    scale = trial.scale
    shapes = (plain, split, pair)
    with trial.target() as target, trial.clients(target, shapes=shapes, eager=False) as clients:
        done = 0
        while done < scale.trials and target.lives:
            done += _ask_at_each_retirement(trial, target, clients)


def _ask_at_each_retirement(trial: Trial, target: Target, clients: Swarm) -> int:
    """Reload; how many requests were sent in the moment of a retirement."""
    since, sent = target.mark(), clients.tally.sent
    before = set(target.family())
    target.send(signal.SIGHUP)
    end = time.monotonic() + 20.0
    seen = 0
    while time.monotonic() < end and target.lives:
        # Where the log does not tell of it, some worker's end does.
        retired = (
            target.log[since:].count(" draining")
            if target.ours
            else sum(not alive(pid) for pid in before)
        )
        if retired > seen:
            seen = retired
            clients.ask_within(_MOMENT)
        if target.ours and "reload to generation" in target.log[since:].partition("begun")[2]:
            break
        if not target.ours and seen == len(before):
            break
        time.sleep(0.0005)
    time.sleep(_MOMENT)
    eventually(lambda: not clients.waiting)
    return clients.tally.sent - sent


def kills(trial: Trial) -> None:
    """(d) A worker is killed every 200 ms, another one is stopped for a while now and then."""
    with trial.target(workers=3) as target, trial.clients(target) as clients:
        end = time.monotonic() + trial.scale.seconds
        number = 0
        while time.monotonic() < end and target.lives:
            answering = sorted(_answering(target, clients))
            if answering:
                number += 1
                trial.kill(answering[number % len(answering)])
                if number % 3 == 0:
                    _stop_for_a_while(answering[(number + 1) % len(answering)])
            time.sleep(0.2)


def _answering(target: Target, clients: Swarm) -> set[int]:
    """The workers that have answered something lately, and live."""
    answered = clients.tally.answered
    latest = [answered[name] for name in list(answered)[-2000:]]
    return {pid for pid in latest if alive(pid) and pid != target.pid}


def _stop_for_a_while(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.1)
        os.kill(pid, signal.SIGCONT)


# Code before the app, and after it.
_MISTAKES = {
    "SyntaxError": ")",
    "ImportError": "import nothing_of_the_kind",
    "hang": "import time; time.sleep(999)",
    "exit": "os._exit(5)",
    "segfault": "import ctypes; ctypes.string_at(0)",
    "crash after ready": (
        "# after\nimport threading, time\n"
        "def _crash():\n"
        "    time.sleep(0.3)\n"
        "    with open('crashed', 'a') as file: file.write(f'{os.getpid()}\\n')\n"
        "    os._exit(6)\n"
        "threading.Thread(target=_crash, daemon=True).start()\n"
    ),
}
_FAILING_PROBE = (
    "# after\n"
    "good = app\n"
    "def app(environ, start_response):\n"
    "    if 'prefork.probe' not in environ: return good(environ, start_response)\n"
    "    start_response('503 Not Yet', [])\n"
    "    return [b'']\n"
)


def broken_deploys(trial: Trial) -> None:
    """(e) One broken deploy after the other, each followed by a good one."""
    settings = {"listen_timeout": "5", "reload_bake": "1", "ready_path": '"/?probe"'}
    with trial.target(settings=settings) as target, trial.clients(target, pause=0.005):
        mistakes = dict(_MISTAKES)
        if target.ours:
            mistakes["probe"] = _FAILING_PROBE
        for what, code in mistakes.items():
            target.deploy(code)
            trial.reload(target, refused=True)
            if not target.lives:
                trial.check(False, f"the service ended after: {what}")
                return
            target.deploy()
            trial.reload(target)
        for workers in ('"many"', "[") if target.ours else ():
            target.configure({"workers": workers})
            trial.reload(target, refused=True)
            target.configure(settings)
            trial.reload(target)
        crashed = target.directory / "crashed"
        trial.crashed([int(pid) for pid in crashed.read_text().split()] if crashed.exists() else [])


def storms(trial: Trial) -> None:
    """(f) HUP after HUP, with TTIN, and with TERM in the end."""
    with trial.target() as target, trial.clients(target, pause=0.002) as clients:
        for _ in range(trial.scale.storm):
            target.send(signal.SIGHUP)
            time.sleep(1.0 / trial.scale.storm)
        if target.ours:
            target.send(signal.SIGTTIN)
            eventually(lambda: len(target.family()) >= 3)
            target.send(signal.SIGHUP)
        clients.wait_for(len(clients.tally.answered) + trial.scale.requests // 30, 60.0)
        trial.check(target.lives, "the service ended")
        # Who is answered from now on is told so; who comes later finds nobody.
        clients.expect_the_end()
        target.send(signal.SIGHUP)
        time.sleep(_UNDER_WAY)
        target.send(signal.SIGTERM)
        trial.check(target.wait() is not None, "it did not stop")


def upgrades(trial: Trial) -> None:
    """(g) The master executes itself anew, again and again."""
    with trial.target() as target, trial.clients(target):
        for _ in range(trial.scale.upgrades):
            since = target.mark()
            target.send(signal.SIGUSR2)
            trial.check(target.wait_for("taken over by", since), "an upgrade was refused")
            trial.check(target.wait_for(r"reload to generation \d+ done", since), "no reload")


def many_reloads(trial: Trial) -> None:
    """(h) Hundreds of reloads: the master grows in nothing."""
    number = trial.scale.many_reloads
    with trial.target() as target, trial.clients(target, count=10, pause=0.01):
        for _ in range(number // 10):
            trial.reload(target)
        before = _size(target.pid)
        for _ in range(number - number // 10):
            trial.reload(target)
        eventually(lambda: len(target.family()) == 2)
        after = _size(target.pid)
        for what, most in (("fds", 12), ("threads", 0), ("zombies", 0), ("RSS KiB", 1024)):
            grown = after[what] - before[what]
            trial.check(grown <= most, f"the master has {grown} {what} more")


def _size(pid: int) -> dict[str, int]:
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {
        "fds": len(os.listdir(f"/proc/{pid}/fd")),
        "threads": int(status["Threads"]),
        "zombies": sum(not alive(int(child)) for child in children),
        "RSS KiB": int(status["VmRSS"].split()[0]),
    }


def idle_connections(trial: Trial) -> None:
    """(i) Thousands of idle connections through a reload and a crash: each is used again."""
    idle = trial.scale.idle
    settings = {"worker_connections": str(2 * idle)}
    with (
        trial.target(settings=settings) as target,
        trial.clients(target, idle, eager=False) as clients,
    ):
        for what in (None, "reload", "crash", None):
            if what == "reload":
                trial.reload(target)
            elif what == "crash":
                _crash(trial, target, clients)
            clients.ask()
            time.sleep(0.2)
            eventually(lambda: not clients.waiting)
        # Those that were dropped have been connected anew.
        trial.check(clients.connected == idle or not target.ours, "not all are open")


def _crash(trial: Trial, target: Target, clients: Swarm) -> None:
    (pid, *_) = sorted(_answering(target, clients)) or [target.pid]
    trial.kill(pid)
    eventually(lambda: not alive(pid))
    time.sleep(0.3)


def orphans(trial: Trial) -> None:
    """(j) The master is killed: no worker stays, and the port is free."""
    with trial.target() as target:
        with trial.clients(target, pause=0.01) as clients:
            clients.wait_for(trial.scale.requests // 100)
            family = target.family()
            clients.expect_the_end()
            os.kill(target.pid, signal.SIGKILL)
            target.wait()
            gone = eventually(lambda: not any(map(alive, family)), 5.0)
        trial.check(gone, "workers stay after 5 s")
        trial.check(port_is_free(target.port), "the port is taken")
        for pid in filter(alive, family):
            os.kill(pid, signal.SIGKILL)


SCENARIOS = (
    Scenario("a", "reloads, keep-alive", reloads),
    Scenario("b", "reloads, a connection per request", reloads_close),
    Scenario("c", "requests as a worker retires", moments),
    Scenario("d", "workers killed and stopped", kills),
    Scenario("e", "broken deploys", broken_deploys),
    Scenario("f", "a storm of HUPs, TTIN, TERM", storms),
    Scenario("g", "upgrades in place", upgrades, ours_only=True),
    Scenario("h", "hundreds of reloads", many_reloads, ours_only=True),
    Scenario("i", "idle connections, reload and crash", idle_connections),
    Scenario("j", "the master is killed", orphans),
)
