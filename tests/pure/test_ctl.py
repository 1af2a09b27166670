"""What `preforkctl` makes of what the master says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefork.ctl import dump, text
from prefork.ctl.latency import Latency, estimate
from prefork.ctl.rates import Rates
from prefork.wire.control import (
    Progress,
    Reloaded,
    Scale,
    Stacks,
    Status,
    WorkerStatus,
    decode_answer,
    decode_request,
    encode,
)
from prefork.wire.tally import BOUNDS


def a_status(requests: dict[int, int], in_flight: int | None = 0) -> Status:
    """A master; `requests` by slot."""
    return Status(
        pid=1,
        version="1",
        app="a:b",
        state="serving",
        uptime=90000.0,
        generation=1,
        size=len(requests),
        listeners=["http://127.0.0.1:1"],
        requests=sum(requests.values()),
        connections=0,
        parked=0,
        waiting=0,
        workers=[
            WorkerStatus(
                slot=slot,
                pid=100 + slot,
                generation=1,
                state="serving",
                requests=count,
                in_flight=in_flight,
            )
            for slot, count in requests.items()
        ],
    )


# The protocol.


@pytest.mark.parametrize(
    "message",
    [
        a_status({1: 1}),
        Reloaded(good=True),
        Progress(event="begun"),
        Stacks(slot=1, pid=2, generation=1, text="x\ny"),
    ],
)
def test_an_answer_is_one_line_and_arrives_as_it_was(message: Status) -> None:
    line = encode(message)
    assert line.count(b"\n") == 1 and line.endswith(b"\n")
    assert decode_answer(line) == message


def test_a_request_can_be_written_by_hand() -> None:
    assert decode_request(b'{"do": "scale", "count": -1, "relative": true}') == Scale(
        count=-1, relative=True
    )


# Words.


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (119, "119 s"),
        (121, "2 min"),
        (7300, "2 h"),
        (200000, "2 d"),
    ],
)
def test_durations_have_the_unit_that_is_best_to_read(seconds: float, words: str) -> None:
    assert text.duration(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"), [(None, "-"), (3 << 19, "1.5 MiB"), (5 << 29, "2.5 GiB")]
)
def test_sizes_likewise(count: int | None, words: str) -> None:
    assert text.size(count) == words


def test_a_slot_without_a_worker_has_no_pid_but_its_error() -> None:
    status = Status(
        **{
            **{name: getattr(a_status({}), name) for name in Status.__struct_fields__},
            "workers": [
                WorkerStatus(
                    slot=1, pid=0, generation=2, state="empty", last_error="no", error_age=3.0
                )
            ],
        }
    )
    (row,) = text.rows(status)
    assert row[:4] == ["1", "-", "2", "empty"] and row[-1] == "no (3.0 s ago)"


def test_an_event_that_a_newer_master_tells_is_shown_as_it_is() -> None:
    assert text.progress(Progress(event="moulting", slot=2, pid=5)).endswith("moulting")


# Rates.


def test_rates_are_of_the_time_between_two_looks() -> None:
    rates = Rates()
    rates.look(a_status({1: 10, 2: 0}), 100.0)
    assert (rates.per_second, rates.by_pid) == (0.0, {})
    rates.look(a_status({1: 20, 2: 30}), 104.0)
    assert rates.per_second == 10.0
    assert rates.by_pid == {101: 2.5, 102: 7.5}


def test_a_request_runs_as_long_as_its_worker_begins_no_other_one() -> None:
    rates = Rates()
    rates.look(a_status({1: 1}, in_flight=1), 10.0)
    assert rates.running == {}
    rates.look(a_status({1: 1}, in_flight=1), 11.0)
    rates.look(a_status({1: 1}, in_flight=1), 13.0)
    assert rates.running == {1: 3.0}
    rates.look(a_status({1: 2}, in_flight=1), 14.0)
    assert rates.running == {}
    rates.look(a_status({1: 2}, in_flight=0), 15.0)
    rates.look(a_status({1: 2}, in_flight=None), 16.0)
    assert rates.running == {}


# Latency: what is asked for is of the last ten seconds, and as fine as the buckets.


def ended(**counts: int) -> list[int]:
    """A histogram: counts by the upper bound of a bucket, in milliseconds, `inf` for the last."""
    bounds = [*(f"ms{bound * 1000:g}".replace(".", "_") for bound in BOUNDS), "longer"]
    assert set(counts) <= set(bounds)
    return [counts.get(bound, 0) for bound in bounds]


@pytest.mark.parametrize(
    ("histogram", "percent", "seconds"),
    [
        (ended(), 50, None),
        (ended(ms0_5=100), 50, 0.00025),
        (ended(ms50=100), 50, 0.0375),
        (ended(ms50=100), 100, 0.05),
        (ended(ms50=99, ms1000=1), 99, 0.05),
        (ended(ms50=98, ms1000=2), 99, 0.75),
        (ended(ms1=50, longer=50), 50, 0.001),
        (ended(ms1=50, longer=50), 51, 10.0),
    ],
)
def test_a_percentile_lies_within_its_bucket(
    histogram: list[int], percent: float, seconds: float | None
) -> None:
    assert estimate(percent, histogram) == (seconds and pytest.approx(seconds))


def test_latency_is_of_what_has_ended_within_ten_seconds() -> None:
    latency = Latency()
    latency.look({0: ended(), 7: ended(ms1=1000)}, 100.0)
    assert latency.percentile(50) is None
    latency.look({0: ended(), 7: ended(ms1=1000, ms100=10)}, 105.0)
    assert latency.percentile(50) == pytest.approx(0.075)
    latency.look({0: ended(), 7: ended(ms1=1000, ms100=10, ms500=1)}, 114.0)
    assert latency.percentile(100) == 0.5
    assert latency.percentile(1) == pytest.approx(0.05, rel=0.2)
    latency.look({0: ended(), 7: ended(ms1=1000, ms100=10, ms500=2)}, 116.0)
    assert latency.percentile(1) == pytest.approx(0.25, rel=0.1), "those of 105.0 are old now"


def test_a_worker_that_dies_takes_no_request_out_of_the_latency_of_all() -> None:
    latency = Latency()
    latency.look({0: ended(), 7: ended(ms1=10)}, 1.0)
    latency.look({0: ended(ms1=10, ms50=5), 8: ended(ms100=3)}, 2.0)
    assert latency.percentile(5 / 8 * 100) == pytest.approx(0.05)
    assert latency.percentile(100, pid=8) == 0.1
    assert latency.percentile(50, pid=7) is None
    assert latency.percentile(50, pid=9) is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "-"),
        (0.0003, "< 0.5 ms"),
        (0.00123, "1.23 ms"),
        (0.25, "250 ms"),
        (2.25, "2.2 s"),
        (10.0, "> 10 s"),
    ],
)
def test_latency_in_words(seconds: float | None, words: str) -> None:
    assert text.latency(seconds) == words


# Dumps.

TWO_THREADS = """\
Thread 0x00007fc238b676c0 (most recent call first):
  File "/srv/my app/views.py", line 3 in wait
  File "/srv/my app/views.py", line 9 in <lambda>
  File "/lib/prefork/wsgi.py", line 167 in run
  File "/lib/python3.11/threading.py", line 982 in run
  File "/lib/python3.11/threading.py", line 1002 in _bootstrap

Thread 0x00007fc239b696c0 (most recent call first):
  File "/lib/prefork/worker/threads.py", line 228 in _sleep
  File "/lib/python3.11/threading.py", line 1002 in _bootstrap

Current thread 0x00007fc23b85eb80 (most recent call first):
  File "/lib/prefork/worker/threads.py", line 150 in run
  File "<frozen runpy>", line 88 in _run_code

Request GET /a?b=(most recent call first): in thread 0x00007fc238b676c0"""

A_GREENLET = """\
Current thread 0x00007f8f17a3bb80 (most recent call first):
  File "/lib/gevent/hub.py", line 647 in run

Greenlet of POST /x (most recent call first):
  File "/lib/gevent/hub.py", line 9 in sleep
  File "/srv/app.py", line 5 in app
"""


def told(dumped: str) -> Stacks:
    return Stacks(slot=1, pid=2, generation=3, text=dumped)


def test_of_a_dump_what_is_the_apps_is_left_with_the_request_beside_it() -> None:
    (stack,) = dump.stacks(told(TWO_THREADS))
    assert stack.request == "GET /a?b=(most recent call first):"
    assert stack.where == "views.py:3 in wait"
    assert len(stack.places) == 2
    (greenlet,) = dump.stacks(told(A_GREENLET))
    assert (greenlet.request, greenlet.where) == ("POST /x", "app.py:5 in app")


@given(st.text() | st.text(alphabet='TFR hread0x:(","\n'))
def test_no_dump_is_too_strange(dumped: str) -> None:
    text.stacks(told(dumped))
