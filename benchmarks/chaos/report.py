"""What the trials have given, put where it is read: the README and CHAOS.md."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.chaos.account import Outcome
from benchmarks.chaos.scenarios import SCENARIOS
from benchmarks.servers import PROJECT
from benchmarks.tables import markdown

BEGIN = "<!-- The table from here on is written by `make chaos`. -->"
END = "<!-- The end of the table. -->"

# By server, then by the letter of the scenario.
Outcomes = dict[str, dict[str, Outcome]]


def save(about: dict[str, Any], outcomes: Outcomes, path: Path) -> None:
    """Write everything as JSON."""
    plain = {
        server: {letter: asdict(one) for letter, one in of_server.items()}
        for server, of_server in outcomes.items()
    }
    path.write_text(json.dumps({"about": about, "outcomes": plain}, indent=1) + "\n")


def load(path: Path) -> tuple[dict[str, Any], Outcomes]:
    """Read what `save` has written."""
    kept = json.loads(path.read_text())
    outcomes = {
        server: {letter: Outcome(**one) for letter, one in of_server.items()}
        for server, of_server in kept["outcomes"].items()
    }
    return kept["about"], outcomes


def write(about: dict[str, Any], outcomes: Outcomes, root: Path = PROJECT) -> None:
    """Rewrite the files below `root` that show it."""
    readme = root / "README.md"
    readme.write_text(with_table(readme.read_text(), about, outcomes))
    (root / "benchmarks" / "CHAOS.md").write_text(document(about, outcomes))


def with_table(readme: str, about: dict[str, Any], outcomes: Outcomes) -> str:
    """The README with its table replaced: what stands between the two marks."""
    before, _, rest = readme.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"README.md has no {BEGIN} followed by {END}")
    parts = [how(about), EXPLANATION, table(outcomes)]
    return "\n\n".join([f"{before}{BEGIN}\n{parts[0]}", *parts[1:]]) + f"\n{END}{after}"


def document(about: dict[str, Any], outcomes: Outcomes) -> str:
    """CHAOS.md: everything."""
    parts = ["# What clients lose", how(about), EXPLANATION, table(outcomes)]
    for server, of_server in outcomes.items():
        parts += [f"## {server}", _details(of_server)]
    return "\n\n".join(parts) + "\n"


EXPLANATION = """\
A cell says how many requests were lost, of how many; **0** where nothing at all was. Not counted as
lost are requests that a worker was in the middle of when it was killed: "k" says how many these
were, some of them sent behind a response of which the worker had not noted yet that it was out, or
just the end of the connection behind such a response. "d" are idle connections that were closed
without a word, "twice" requests that were executed more than once."""


def how(about: dict[str, Any]) -> str:
    """Where, when and how it was tried, in a paragraph."""
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    command = f"make chaos ARGS='{about['arguments']}'" if about["arguments"] else "make chaos"
    machine = about["machine"]
    return (
        f"Tried by `{command}` on {about['date'][:10]}, commit {about['commit']}: clients on bare "
        f"sockets that never retry, and 2 workers (3 where they are killed); {machine['cpu']}, "
        f"{machine['cpus']} CPUs, Linux {machine['kernel']}; {versions}."
    )


def table(outcomes: Outcomes) -> str:
    """A line for each scenario, a column for each server."""
    rows = [
        [
            f"({scenario.letter}) {scenario.title}",
            *(_cell(of_server.get(scenario.letter)) for of_server in outcomes.values()),
        ]
        for scenario in SCENARIOS
    ]
    return markdown(["", *outcomes], rows)


def _cell(outcome: Outcome | None) -> str:
    if outcome is None:
        return "-"
    of = f"{outcome.requests:,}".replace(",", " ")
    killed = outcome.in_killed + outcome.cut
    lost = "**0**" if outcome.spotless else str(outcome.lost)
    more = [
        f"{killed} k" if killed else "",
        f"{outcome.dropped} d" if outcome.dropped else "",
        f"{outcome.twice} twice" if outcome.twice else "",
        *outcome.wrong[:1],
    ]
    return f"{lost} of {of}" + "".join(f"; {each}" for each in more if each)


def _details(of_server: dict[str, Outcome]) -> str:
    rows = []
    for letter, one in of_server.items():
        why = "; ".join(dict.fromkeys([*one.wrong, *one.reasons]))
        numbers = (
            one.requests,
            one.lost,
            one.in_killed,
            one.behind,
            one.twice,
            one.connections,
            one.cut,
            one.dropped,
        )
        rows.append([f"({letter})", *map(str, numbers), why])
    head = [
        "",
        "requests",
        "lost",
        "in a killed worker",
        "of these behind a response",
        "twice",
        "connections",
        "cut behind a response",
        "dropped idle",
    ]
    return markdown([*head, "why"], rows)
