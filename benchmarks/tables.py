"""The figures as Markdown: a table for each load, and a compact one of what matters most."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.loads import LOADS, Kind, Load
from benchmarks.results import Results, Spread
from benchmarks.servers import SERVERS, YARDSTICK, Server

# By figure: the heading, and how a number is written.
COLUMNS: dict[Kind, dict[str, tuple[str, str]]] = {
    Kind.WRK: {
        "requests_per_second": ("requests/s", ".0f"),
        "cpu_us": ("CPU µs per request", ".1f"),
        "p50_ms": ("p50 ms", ".2f"),
        "p99_ms": ("p99 ms", ".2f"),
        "core_percent": ("% of the core", ".0f"),
        "pss_mib": ("PSS MiB", ".1f"),
        "errors": ("errors", ".0f"),
    },
    Kind.MIX: {
        "waited_percent": ("% of the short waited over 50 ms", ".1f"),
        "short": ("short requests", ".0f"),
        "p50_ms": ("p50 ms", ".1f"),
        "p99_ms": ("p99 ms", ".1f"),
        "slow_p50_ms": ("p50 of the slow, ms", ".0f"),
        "late_p99_ms": ("the client itself was late, p99 ms", ".1f"),
        "pss_mib": ("PSS MiB per worker", ".1f"),
        "errors": ("errors", ".0f"),
    },
    Kind.MEMORY: {
        "pss_mib": ("PSS MiB, all processes", ".1f"),
        "pss_per_worker_mib": ("for each worker", ".1f"),
        "errors": ("errors", ".0f"),
    },
    Kind.IDLE: {
        "held": ("idle ones still open", ".0f"),
        "pss_mib": ("PSS MiB before", ".1f"),
        "pss_beside_mib": ("with them", ".1f"),
        "cpu_us": ("CPU µs per request before", ".1f"),
        "cpu_beside_us": ("with them", ".1f"),
        "p50_ms": ("p50 ms before", ".2f"),
        "p50_beside_ms": ("with them", ".2f"),
        "p99_ms": ("p99 ms before", ".2f"),
        "p99_beside_ms": ("with them", ".2f"),
        "errors": ("errors", ".0f"),
    },
}

_NOTHING = "-"

# The compact table: what is shown of which load.
COMPACT = (
    ("small", "cpu_us", "keep-alive", ".1f"),
    ("headers", "cpu_us", "10 headers", ".1f"),
    ("varying", "cpu_us", "10 and one that varies", ".1f"),
    ("close", "cpu_us", "a connection each", ".0f"),
    ("flask", "cpu_us", "Flask", ".0f"),
    ("django", "cpu_us", "Django", ".0f"),
    ("headers", "requests_per_second", "requests/s, 10 headers", ".0f"),
    ("headers", "p99_ms", "p99 ms", ".1f"),
    ("headers", "pss_mib", "PSS MiB", ".0f"),
)


def of_load(results: Results, load: Load) -> str:
    """All figures under a load: medians, and the least and the most where there were rounds."""
    columns = COLUMNS[load.kind]
    head = ["", *(heading for heading, _ in columns.values())]
    compared = load.kind is Kind.WRK and YARDSTICK in results.measured[load.name]
    rows = []
    for server in measured(results, load.name):
        cells = [
            _cell(results.spread(load.name, server.name, figure), form)
            for figure, (_, form) in columns.items()
        ]
        extra = [_to_yardstick(results, load.name, server.name)] if compared else []
        rows.append([server.title, *cells, *extra])
    return markdown([*head, f"CPU to {YARDSTICK}'s"] if compared else head, rows)


def compact(results: Results) -> str:
    """A line for each server: medians of what matters most."""
    head = ["", *(heading for _, _, heading, _ in COMPACT[:2]), f"to {YARDSTICK}'s"]
    head += [heading for _, _, heading, _ in COMPACT[2:]]
    rows = []
    for server in SERVERS:
        cells = [
            _median(results.spread(load, server.name, figure), form)
            for load, figure, _, form in COMPACT
        ]
        if any(cell != _NOTHING for cell in cells):
            cells.insert(2, _to_yardstick(results, "headers", server.name))
            rows.append([f"**{server.title}**" if server.ours else server.title, *cells])
    return markdown(head, rows)


def left_out(results: Results) -> list[str]:
    """A line for each server and reason, with the loads that it has not been measured under."""
    loads: dict[tuple[str, str], list[str]] = {}
    for one in results.left_out:
        loads.setdefault((one.server, one.reason), []).append(one.load)
    titles = {server.name: server.title for server in SERVERS}
    return [
        f"{titles.get(server, server)} ({_load_names(names)}): {reason}"
        for (server, reason), names in loads.items()
    ]


def measured(results: Results, load: str) -> list[Server]:
    """The servers that have figures under a load, in the order of their table."""
    return [server for server in SERVERS if server.name in results.measured.get(load, {})]


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown, its first column left-aligned and all others right-aligned."""
    marks = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, marks, *rows])


def _load_names(names: list[str]) -> str:
    every = "" in names or len(names) == len(LOADS)
    return "all loads" if every else ", ".join(names)


def _cell(spread: Spread | None, form: str) -> str:
    if spread is None:
        return _NOTHING
    least, most = _number(spread.least, form), _number(spread.most, form)
    middle = _number(spread.median, form)
    return middle if least == most else f"{middle} ({least}-{most})"


def _median(spread: Spread | None, form: str) -> str:
    return _number(spread.median, form) if spread else _NOTHING


def _number(value: float, form: str) -> str:
    return f"{value:,{form}}".replace(",", " ")


def _to_yardstick(results: Results, load: str, server: str) -> str:
    ours = results.spread(load, server, "cpu_us")
    theirs = results.spread(load, YARDSTICK, "cpu_us")
    return f"{ours.median / theirs.median:.2f}" if ours and theirs else _NOTHING
