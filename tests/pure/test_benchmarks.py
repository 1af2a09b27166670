"""What the benchmark measured, as it is shown: tables, charts and the README's figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import report, tables
from benchmarks.chaos import report as chaos
from benchmarks.chaos.account import account
from benchmarks.chaos.clients import Tally
from benchmarks.chaos.journal import executions
from benchmarks.loads import LOADS
from benchmarks.measure import Plan
from benchmarks.results import Results, load, save
from benchmarks.servers import SERVERS, YARDSTICK

ROOT = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"

ABOUT: dict[str, Any] = {
    "date": "2026-01-02T03:04+00:00",
    "arguments": "--rounds 3",
    "rounds": 3,
    "seconds": 2,
    "commit": "0123abc",
    "machine": {"cpu": "A CPU", "cpus": 2, "kernel": "6.1", "load_average_before": 0.1},
    "versions": {"python": "3.11", "prefork": "1.2.3"},
}


@pytest.fixture
def results() -> Results:
    """Three rounds of two servers under one load, one of a mix, and a server left out."""
    sample = Results(ABOUT)
    for times in (1.0, 1.5, 1.1):
        sample.add("headers", "prefork-sync", _figures(10.04 * times))
        sample.add("headers", "bjoern", _figures(8.0 * times))
    sample.add("mix", "prefork-sync", {"waited_percent": 2.5, "short": 1234, "pss_mib": 12.0})
    sample.leave_out("waitress", "mix", "is one process & has no workers")
    return sample


def _figures(cpu: float) -> dict[str, float]:
    return {"requests_per_second": 1e6 / cpu, "cpu_us": cpu, "p99_ms": 3.0, "pss_mib": 20.0}


def test_results_are_read_as_they_were_written(results: Results, tmp_path: Path) -> None:
    save(results, tmp_path / "results.json")
    assert load(tmp_path / "results.json") == results


def test_the_rounds_of_a_figure_stand_on_one_line(results: Results, tmp_path: Path) -> None:
    save(results, tmp_path / "results.json")
    assert '"cpu_us": [ 10.04, 15.06, 11.044 ]' in (tmp_path / "results.json").read_text()


def test_a_table_has_the_median_the_least_and_the_most(results: Results) -> None:
    headers = next(load for load in LOADS if load.name == "headers")
    ours = tables.of_load(results, headers).splitlines()[2]
    assert "| prefork sync |" in ours
    assert "| 11.0 (10.0-15.1) |" in ours
    assert ours.endswith("| 1.25 |")


def test_a_table_shows_what_was_not_measured_as_a_dash(results: Results) -> None:
    mix = next(load for load in LOADS if load.name == "mix")
    assert "| 2.5 | 1 234 | - |" in tables.of_load(results, mix)


def test_a_server_that_was_left_out_is_named_with_the_reason(results: Results) -> None:
    line = "- waitress, 4 threads (mix): is one process & has no workers"
    assert line in report.summary(results)
    assert line in report.document(results)


def test_a_machine_that_was_busy_is_said_to_have_been(results: Results) -> None:
    assert "busy with other things" not in report.how(results)
    machine = {**ABOUT["machine"], "load_average_before": 3.0}
    busy = Results({**ABOUT, "machine": machine})
    assert "busy with other things too (load average 3.0)" in report.how(busy)


def test_every_load_that_was_measured_is_in_the_document(results: Results) -> None:
    text = report.document(results)
    shown = [load.name for load in LOADS if f"## {load.title}\n" in text]
    assert shown == ["headers", "mix"]


def test_a_chart_has_a_bar_for_each_server_the_shortest_on_top(results: Results) -> None:
    chart = ElementTree.fromstring(report.drawn(results)["headers.svg"])
    labels = [text.text for text in chart.iter(f"{SVG}text") if text.get("class") == "label"]
    bars = [bar for bar in chart.iter(f"{SVG}rect") if bar.get("class") in ("ours", "peer")]
    assert labels == ["bjoern (C)", "prefork sync"]
    assert [bar.get("class") for bar in bars] == ["peer", "ours"]
    shortest, longest = (float(bar.get("width", 0)) for bar in bars)
    assert shortest / longest == pytest.approx(8.8 / 11.044, rel=0.01)


def test_a_chart_stays_within_its_ground(results: Results) -> None:
    for image in report.drawn(results).values():
        chart = ElementTree.fromstring(image)
        width = float(chart.get("width", 0))
        for bar in chart.iter(f"{SVG}rect"):
            assert float(bar.get("x", 0)) + float(bar.get("width", 0)) <= width


def test_a_chart_is_drawn_only_where_something_was_measured(results: Results) -> None:
    assert set(report.drawn(results)) == {"headers.svg", "mix.svg"}


def test_the_readme_changes_only_between_the_marks(results: Results) -> None:
    before = f"# Title\n{report.BEGIN}\nold\n{report.END}\nrest\n"
    after = report.with_figures(before, results)
    assert after.startswith(f"# Title\n{report.BEGIN}\n")
    assert after.endswith(f"\n{report.END}\nrest\n")
    assert "old" not in after
    assert "| **prefork sync** | - | 11.0 | 1.25 |" in after


def test_a_readme_without_the_marks_is_an_error(results: Results) -> None:
    with pytest.raises(ValueError, match=r"README\.md has no"):
        report.with_figures("# Title\n", results)


def test_the_rounds_of_the_servers_are_interleaved() -> None:
    servers = [server for server in SERVERS if server.name in ("prefork-sync", "bjoern")]
    loads = [load for load in LOADS if load.name in ("small", "headers", "idle")]
    steps = [
        (number, server.name, [load.name for load in together])
        for number, server, together in Plan(servers, loads, 2, 1, 0).steps()
    ]
    both = [(1, "prefork-sync", ["small", "headers"]), (1, "bjoern", ["small", "headers"])]
    assert steps[:2] == both
    assert steps[2:4] == [(1, "prefork-sync", ["idle"]), (1, "bjoern", ["idle"])]
    assert steps[4:] == [(2, name, names) for _, name, names in both]


def test_only_prefork_and_the_yardstick_are_measured_over_more_and_more_connections() -> None:
    loads = [load for load in LOADS if load.name == "connections-1000"]
    measured = {server.package for _, server, _ in Plan(SERVERS, loads, 1, 1, 0).steps()}
    assert measured == {"prefork", YARDSTICK}


def test_every_reason_not_to_measure_names_a_load() -> None:
    named = {load for server in SERVERS for load in (*server.unable, *server.only)}
    assert named <= {load.name for load in LOADS}


def test_the_readme_shows_the_committed_results() -> None:
    readme = (ROOT / "README.md").read_text()
    assert report.with_figures(readme, load(ROOT / "benchmarks" / "results.json")) == readme


def test_the_tables_and_charts_show_the_committed_results() -> None:
    here = ROOT / "benchmarks"
    committed = load(here / "results.json")
    charts = {path.name: path.read_text() for path in (here / "charts").glob("*.svg")}
    assert (here / "RESULTS.md").read_text() == report.document(committed)
    assert charts == report.drawn(committed)


def test_the_table_of_losses_shows_the_committed_outcomes() -> None:
    about, outcomes = chaos.load(ROOT / "benchmarks" / "chaos.json")
    assert (ROOT / "benchmarks" / "CHAOS.md").read_text() == chaos.document(about, outcomes)
    readme = (ROOT / "README.md").read_text()
    assert chaos.with_table(readme, about, outcomes) == readme


def test_a_worker_that_was_killed_excuses_no_more_than_what_it_can_have_been_executing(
    tmp_path: Path,
) -> None:
    (tmp_path / "journal").write_text(f"{'b':16} {77:8}\n")
    tally = Tally(sent=8, answered={b"a": 5}, failed={b"x": 502}, lost={b"b": "closed"})
    tally.lost |= {b"%d" % number: "reset" for number in range(6)}
    tally.behind = {b"%d" % number: 77 for number in range(6)}
    outcome = account(tally, executions(tmp_path / "journal"), killed={77})
    assert (outcome.in_killed, outcome.lost, outcome.twice) == (2 + 4, 2, 1)
    assert outcome.behind == 4
    assert account(tally, {}, killed=set()).lost == 8


def test_a_connection_that_ended_behind_the_last_response_of_a_killed_worker_was_cut() -> None:
    tally = Tally(sent=1, answered={b"a": 77}, dropped=[77, 5, 0])
    outcome = account(tally, {b"a": [77]}, killed={77})
    assert (outcome.cut, outcome.dropped) == (1, 2)
    assert account(Tally(dropped=[77] * 6), {}, killed={77}).dropped == 2
