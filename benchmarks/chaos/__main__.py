"""What clients lose when workers are replaced, killed or broken: prefork beside its peers.

All of it takes some 30 minutes, and rewrites the table of the README and CHAOS.md. With --servers
only their columns are new; what is tried with --scenarios or --short is only shown.

    make chaos                                             all of it
    make chaos ARGS='--servers prefork-sync'
    make chaos ARGS='--scenarios d,i'
    make chaos ARGS=--short                                some seconds for each
    make chaos ARGS=--report                               only rewrite what is shown
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.about import about
from benchmarks.chaos import report
from benchmarks.chaos.account import Outcome
from benchmarks.chaos.scenarios import SCENARIOS, Scenario
from benchmarks.chaos.target import Subject
from benchmarks.chaos.trial import PEERS, SHORT, WHOLE, Trial
from benchmarks.install import install
from benchmarks.servers import SERVERS, VENV, Server

WHOLE_FILE = Path(__file__).resolve().parents[1] / "chaos.json"
NAMES = (
    "prefork-sync",
    "prefork-threads",
    "prefork-gevent",
    "prefork-preload",
    "gunicorn-gthread",
    "gunicorn-gevent",
    "uwsgi",
    "granian",
)
# So many reasons of losses are kept of a trial.
_REASONS = 5


def main() -> None:
    """Do what the command line asks for."""
    options = _options()
    if options.report:
        report.write(*report.load(WHOLE_FILE))
        return
    servers = [server for server in SERVERS if server.name in options.servers]
    left_out = install(servers)
    facts = about(servers, sys.argv[1:], 1, 0)
    outcomes: report.Outcomes = {}
    for server in servers:
        if server.name not in left_out:
            outcomes[server.title] = _try(server, options)
    print("\n" + report.table(outcomes))
    if len(options.scenarios) == len(SCENARIOS) and not options.short:
        _keep(facts, outcomes)


def _keep(facts: dict[str, Any], outcomes: report.Outcomes) -> None:
    """Rewrite what is shown, with the columns of other servers as they were."""
    if WHOLE_FILE.exists():
        before, others = report.load(WHOLE_FILE)
        facts["versions"] = before["versions"] | facts["versions"]
        outcomes = others | outcomes
    titles = [server.title for server in SERVERS if server.title in outcomes]
    outcomes = {title: outcomes[title] for title in titles}
    report.save(facts, outcomes, WHOLE_FILE)
    report.write(facts, outcomes)


def _try(server: Server, options: argparse.Namespace) -> dict[str, Outcome]:
    """All scenarios with one server."""
    scale = SHORT if options.short else WHOLE if server.ours else PEERS
    found = {}
    with tempfile.TemporaryDirectory(prefix="prefork-chaos-") as directory:
        for scenario in options.scenarios:
            if scenario.ours_only and not server.ours:
                continue
            trial = Trial(subject(server), Path(directory) / scenario.letter, scale)
            try:
                scenario.play(trial)
            except (OSError, RuntimeError) as error:
                trial.check(False, str(error).splitlines()[0])
            outcome = replace(trial.outcome, reasons=_some(trial.outcome.reasons))
            found[scenario.letter] = outcome
            print(f"{server.title} ({scenario.letter}) {scenario.title}: {outcome}", flush=True)
    return found


def _some(reasons: list[str]) -> list[str]:
    return list(dict.fromkeys(reasons))[:_REASONS]


def subject(server: Server) -> Subject:
    """One of the servers that are measured, as one to be tried."""

    def argv(port: int, workers: int) -> list[str]:
        command, *arguments = server.argv("deployed:app", port, workers, many=True)
        # What happens is told at this level.
        told = ["--log-level", "info"] if server.ours else []
        return [str(VENV / "bin" / command), *arguments, *told]

    environ = {"PATH": f"{VENV / 'bin'}:{os.environ['PATH']}"}
    return Subject(server.name, server.title, argv, environ, server.ours)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.chaos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--servers", type=_servers, default=list(NAMES), metavar=",".join(NAMES))
    letters = ",".join(scenario.letter for scenario in SCENARIOS)
    add("--scenarios", type=_scenarios, default=list(SCENARIOS), metavar=letters)
    add("--short", action="store_true", help="some seconds for each")
    add("--report", action="store_true", help=f"try nothing, show what is in {WHOLE_FILE.name}")
    return parser.parse_args()


def _servers(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(NAMES):
        raise argparse.ArgumentTypeError(f"there is no {', '.join(sorted(unknown))}")
    return names


def _scenarios(text: str) -> list[Scenario]:
    return [scenario for scenario in SCENARIOS if scenario.letter in text.split(",")]


if __name__ == "__main__":
    # A connection is an fd, here and in the servers.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    main()
