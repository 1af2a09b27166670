"""What a run of the benchmark has given, and how it is kept as JSON."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

_NUMBERS = re.compile(r"\[[-\d.,\s]+\]")

Figures = dict[str, float]  # by their names; what one measurement has given


@dataclass(frozen=True)
class Spread:
    """A figure over all rounds."""

    median: float
    least: float
    most: float


@dataclass(frozen=True)
class LeftOut:
    """A server that was not measured in all rounds of a load, or at all (`load` is empty)."""

    server: str
    load: str
    reason: str


@dataclass
class Results:
    """`about` is where, when and how; `measured` has by load, server and figure each round."""

    about: dict[str, Any]
    measured: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)

    def add(self, load: str, server: str, figures: Figures) -> None:
        """One more round of a server under a load."""
        of_server = self.measured.setdefault(load, {}).setdefault(server, {})
        for name, value in figures.items():
            of_server.setdefault(name, []).append(round(value, 3))

    def join(self, later: Results) -> None:
        """Have the loads of a later run as well, instead of what there is of them."""
        about = {name: later.about[name] for name in ("arguments", "date", "commit")}
        self.about.setdefault("later", []).append({**about, "loads": sorted(later.measured)})
        self.measured |= later.measured
        self.left_out = [one for one in self.left_out if one.load not in later.measured]
        self.left_out += later.left_out

    def leave_out(self, server: str, load: str, reason: str) -> None:
        """Note, once, why a server is not measured."""
        if (one := LeftOut(server, load, reason)) not in self.left_out:
            self.left_out.append(one)

    def is_left_out(self, server: str) -> bool:
        """Whether there is a reason not to measure it at all."""
        return any((one.server, one.load) == (server, "") for one in self.left_out)

    def spread(self, load: str, server: str, figure: str) -> Spread | None:
        """A figure over the rounds, None where it was not measured."""
        values = self.measured.get(load, {}).get(server, {}).get(figure)
        return Spread(median(values), min(values), max(values)) if values else None


def save(results: Results, path: Path) -> None:
    """Write them as JSON, the rounds of a figure on one line."""
    text = json.dumps(asdict(results), indent=1)
    path.write_text(_NUMBERS.sub(lambda found: " ".join(found[0].split()), text) + "\n")


def load(path: Path) -> Results:
    """Read what `save` has written."""
    kept = json.loads(path.read_text())
    left_out = [LeftOut(**one) for one in kept["left_out"]]
    return Results(kept["about"], kept["measured"], left_out)
