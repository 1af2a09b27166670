"""What a run has given, put where it is read: the README, RESULTS.md and the charts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks import svg, tables
from benchmarks.about import QUIET
from benchmarks.loads import LOADS, Load
from benchmarks.results import Results, Spread
from benchmarks.servers import PROJECT, Server

BEGIN = "<!-- The figures from here on are written by `make bench`. -->"
END = "<!-- The end of the figures. -->"


@dataclass(frozen=True)
class Chart:
    """A chart of one figure of one load."""

    name: str
    load: str
    figure: str
    title: str
    text: str  # how a value is written beside its bar
    part: str = ""  # the figure that is drawn solid within the bar
    in_readme: bool = False


CHARTS = (
    Chart(
        "headers",
        "headers",
        "cpu_us",
        "CPU time per request: keep-alive, 10 browser headers",
        "{:.1f} µs",
        in_readme=True,
    ),
    Chart("close", "close", "cpu_us", "CPU time per request: a connection each", "{:.0f} µs"),
    Chart("flask", "flask", "cpu_us", "CPU time per request: hello world in Flask", "{:.0f} µs"),
    Chart(
        "mix",
        "mix",
        "waited_percent",
        "Short requests that waited over 50 ms, where 5 % of all take 300 ms",
        "{:.1f} %",
        in_readme=True,
    ),
    Chart(
        "idle",
        "idle",
        "pss_beside_mib",
        "Memory with 10 000 connections (solid: before them)",
        "{:.0f} MiB",
        part="pss_mib",
        in_readme=True,
    ),
)


def write(results: Results, root: Path = PROJECT) -> None:
    """Rewrite all files below `root` that show the results."""
    readme = root / "README.md"
    outputs = {
        readme: with_figures(readme.read_text(), results),
        root / "benchmarks" / "RESULTS.md": document(results),
        **{root / "benchmarks" / "charts" / name: image for name, image in drawn(results).items()},
    }
    for path, text in outputs.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def with_figures(readme: str, results: Results) -> str:
    """The README with its figures replaced: what stands between the two marks."""
    before, _, rest = readme.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"README.md has no {BEGIN} followed by {END}")
    return f"{before}{BEGIN}\n{summary(results)}\n{END}{after}"


def summary(results: Results) -> str:
    """What the README shows."""
    shown = [chart for chart in CHARTS if chart.in_readme and _bars(chart, results)]
    parts = [
        how(results),
        "CPU µs per request, and at the end what a single worker serves on one core and takes:",
        tables.compact(results),
        *(f"![{chart.title}](benchmarks/charts/{chart.name}.svg)" for chart in shown),
        "All loads and figures are in [benchmarks/RESULTS.md](benchmarks/RESULTS.md).",
        *_left_out(results),
    ]
    return "\n\n".join(parts)


def document(results: Results) -> str:
    """RESULTS.md: everything."""
    parts = [
        "# Results of the benchmark",
        how(results),
        EXPLANATION,
        tables_of_all(results, with_charts=True),
    ]
    return "\n\n".join([*parts, *_left_out(results)]) + "\n"


def tables_of_all(results: Results, with_charts: bool = False) -> str:
    """A heading and a table for each load, and its charts if they are asked for."""
    parts = []
    for load in LOADS:
        if load.name in results.measured:
            images = _charts_of(load, results) if with_charts else []
            parts += [f"## {load.title}", *images, tables.of_load(results, load)]
    return "\n\n".join(parts)


def how(results: Results) -> str:
    """Where, when and how it was measured, in a paragraph."""
    about, machine = results.about, results.about["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    command = f"make bench ARGS='{about['arguments']}'" if about["arguments"] else "make bench"
    return (
        f"Measured by `{command}` on {about['date'][:10]}, commit {about['commit']}: "
        f"one worker on one core and wrk on another, in interleaved rounds ({about['rounds']} of "
        f"{about['seconds']} s per load); {machine['cpu']}, {machine['cpus']} CPUs, "
        f"Linux {machine['kernel']}; {versions}. "
        "Repeat it with the same command. Compare the ratios within a run, not the microseconds "
        f"of two runs.{_caution(results)}{_later(results)}"
    )


def _later(results: Results) -> str:
    """Which loads are of other runs."""
    return "".join(
        f" Of a later run, on {run['date'][:10]}, commit {run['commit']}: "
        f"{', '.join(run['loads'])}."
        for run in results.about.get("later", [])
    )


def _caution(results: Results) -> str:
    load = results.about["machine"]["load_average_before"]
    if load <= QUIET:
        return ""
    return f" The machine was busy with other things too (load average {load}): expect noise."


def drawn(results: Results) -> dict[str, str]:
    """The SVG of each chart for which something was measured, by its file's name."""
    return {
        f"{chart.name}.svg": svg.bars(chart.title, _subtitle(chart, results), rows)
        for chart in CHARTS
        if (rows := _bars(chart, results))
    }


EXPLANATION = """\
Figures are medians of the rounds, the least and the most in parentheses.

- **CPU µs per request** is user and system time of all processes of the server, and so what is
  taken from an app that shares the core with it. It varies less than requests per second.
- **p50, p99** is the time to an answer. wrk asks again at once on each of its connections, so a
  server is always overloaded here, and most of the time is spent waiting in line.
- **% of the core** is what the server used of its core. Far below 100, wrk or the kernel was what
  held it up, and its requests per second could be more.
- **PSS** is the memory of all processes of the server, pages that are shared counted in parts.
- **errors** are answers other than 2xx, broken connections and timeouts. wrk takes it for one when
  a server closes a connection without having said so (uWSGI), and asks again.
- The mix is made by 16 threads of one client. How late it was itself, waking up from thinking, is
  shown beside its figures: they can't be better than that.
- The mix, the memory of four workers and the idle connections are measured in the first round only,
  the mix for longer."""


def _bars(chart: Chart, results: Results) -> list[svg.Bar]:
    """The bars of a chart, the shortest on top."""
    bars = []
    for server in tables.measured(results, chart.load):
        if spread := results.spread(chart.load, server.name, chart.figure):
            part = results.spread(chart.load, server.name, chart.part)
            bars.append(_bar(chart, server, spread, part))
    return sorted(bars, key=lambda bar: bar.value)


def _bar(chart: Chart, server: Server, spread: Spread, part: Spread | None) -> svg.Bar:
    return svg.Bar(
        server.title if server.written_in == "Python" else f"{server.title} ({server.written_in})",
        spread.median,
        chart.text.format(spread.median),
        server.ours,
        spread.least,
        spread.most,
        part.median if part else None,
    )


def _subtitle(chart: Chart, results: Results) -> str:
    versions = results.about["versions"]
    load = next(load for load in LOADS if load.name == chart.load)
    workers = "1 worker" if load.workers == 1 else f"{load.workers} workers"
    return (
        f"{workers}; less is better; prefork {versions.get('prefork', '')},"
        f" Python {versions.get('python', '')}, {results.about['date'][:10]}"
    )


def _charts_of(load: Load, results: Results) -> list[str]:
    return [
        f"![{chart.title}](charts/{chart.name}.svg)"
        for chart in CHARTS
        if chart.load == load.name and _bars(chart, results)
    ]


def _left_out(results: Results) -> list[str]:
    lines = tables.left_out(results)
    return (
        ["Not measured, or not in every round:", "\n".join(f"- {line}" for line in lines)]
        if lines
        else []
    )
