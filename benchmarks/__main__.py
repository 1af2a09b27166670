"""prefork beside its peers: the CPU that a request costs, and how soon it is answered.

All of it takes less than 20 minutes, and rewrites the figures of the README and RESULTS.md. A
part (--servers, --loads) is only shown, and kept in benchmarks/part.json, or with --add put into
the figures of the last whole run, which then say so: for loads that are new.

    make bench                                                  all of it
    make bench ARGS='--rounds 2 --seconds 1'                    in half the time
    make bench ARGS='--servers prefork-sync,bjoern --loads small,headers'
    make bench ARGS=--report                                    only rewrite what is shown

Figures of two runs do not compare, the ratios between servers of one run do.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from benchmarks import report
from benchmarks.about import QUIET, about
from benchmarks.install import install
from benchmarks.loads import LOADS, Load
from benchmarks.measure import Plan, measure
from benchmarks.processes import two_cores
from benchmarks.results import Results, load, save
from benchmarks.servers import SERVERS, Server

HERE = Path(__file__).resolve().parent
WHOLE = HERE / "results.json"
PART = HERE / "part.json"

Row = TypeVar("Row", Server, Load)


def main() -> None:
    """Do what the command line asks for."""
    options = _options()
    if options.report:
        report.write(load(WHOLE))
        return
    results = _run(options)
    print("\n" + report.tables_of_all(results))
    if options.add:
        whole = load(WHOLE)
        whole.join(results)
        save(whole, WHOLE)
        report.write(whole)
    elif _is_whole(options) and not options.output:
        report.write(results)


def _run(options: argparse.Namespace) -> Results:
    left_out = install(options.servers)
    if os.getloadavg()[0] > QUIET:
        print("the machine is busy: these figures will not be worth keeping", file=sys.stderr)
    results = Results(about(options.servers, sys.argv[1:], options.rounds, options.seconds))
    for name, reason in left_out.items():
        results.leave_out(name, "", reason)
    servers_core, clients_core = two_cores()
    os.sched_setaffinity(0, {clients_core})
    plan = Plan(options.servers, options.loads, options.rounds, options.seconds, servers_core)
    output = options.output or (WHOLE if _is_whole(options) else PART)
    measure(plan, results, lambda: save(results, output))
    print(f"written to {output}", file=sys.stderr)
    return results


def _is_whole(options: argparse.Namespace) -> bool:
    return (len(options.servers), len(options.loads)) == (len(SERVERS), len(LOADS))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--rounds", type=int, default=3)
    add("--seconds", type=int, default=2, help="that a load lasts in a round")
    add("--servers", type=_chosen(SERVERS), default=SERVERS, metavar=_names(SERVERS))
    add("--loads", type=_chosen(LOADS), default=LOADS, metavar=_names(LOADS))
    add("--output", type=Path, help="where to keep the figures, as JSON")
    add("--add", action="store_true", help="put the figures into those of the last whole run")
    add("--report", action="store_true", help=f"measure nothing, show what is in {WHOLE.name}")
    return parser.parse_args()


def _names(table: Sequence[Row]) -> str:
    return ",".join(row.name for row in table)


def _chosen(table: Sequence[Row]) -> Callable[[str], list[Row]]:
    """An argument's type: some rows of a table by their names, in the table's order."""

    def choose(text: str) -> list[Row]:
        names = text.split(",")
        if unknown := set(names) - {row.name for row in table}:
            raise argparse.ArgumentTypeError(f"there is no {', '.join(sorted(unknown))}")
        return [row for row in table if row.name in names]

    return choose


if __name__ == "__main__":
    main()
