"""What one master hands over to the next: whole, understood, and gone on with alike."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefork.errors import HandoverError
from prefork.master import handover
from prefork.master.backoff import Backoff
from prefork.master.connection import Connection
from prefork.master.dispatch import Books, Dispatch
from prefork.master.fleet import Fleet, Goal
from prefork.master.handover import Handover, decode, encode, settings_of
from prefork.master.life import IN_THE_RING, Phase, Worker
from prefork.master.steps import Spawn
from prefork.settings import Settings
from prefork.wire import messages
from prefork.wire.board import LOANS, ROW_SIZE, ROWS, LoanState
from prefork.wire.facts import Counts
from prefork.wire.identity import WorkerId
from prefork.wire.introduction import Secure
from prefork.wire.tally import BOUNDS

NUMBERS = st.integers(-(1 << 63), (1 << 63) - 1)
TIMES = st.floats(allow_nan=False)  # which would equal nothing, not even itself
PLAIN = st.dictionaries(st.text(), st.text() | st.lists(NUMBERS))
CONNECTIONS = st.builds(
    Connection,
    fd=NUMBERS,
    listener=NUMBERS,
    host=st.text(),
    port=NUMBERS,
    moved=st.booleans(),
    termination=NUMBERS,
    secure=st.none()
    | st.builds(
        Secure,
        protocol=st.text(),
        cipher=st.text(),
        server_name=st.text(),
        client_name=st.text(),
        verified=st.booleans(),
        client_certificate=st.binary(),
    ),
)
WAITS = st.lists(st.tuples(CONNECTIONS, TIMES))
LOG_FILES = st.builds(handover.LogFile, path=st.text(), fd=NUMBERS)


@st.composite
def links(draw: st.DrawFn) -> handover.Link:
    books: Books[Connection] = Books(
        draw(NUMBERS),
        draw(st.dictionaries(NUMBERS, CONNECTIONS)),
        draw(st.sets(NUMBERS)),
        draw(st.booleans()),
        draw(TIMES),
        draw(NUMBERS),
        draw(NUMBERS),
    )
    id = WorkerId(draw(NUMBERS), draw(NUMBERS), draw(NUMBERS))
    return handover.Link(
        Worker(id, draw(TIMES), draw(TIMES), draw(TIMES), draw(st.sampled_from(Phase))),
        draw(st.none() | st.just(books)),
        draw(NUMBERS),
        draw(st.lists(st.tuples(st.binary(), st.lists(NUMBERS)))),
        draw(NUMBERS),
        draw(NUMBERS),
        draw(TIMES),
        draw(st.booleans()),
        draw(TIMES),
    )


LISTENERS = st.builds(
    handover.Listener,
    fd=NUMBERS,
    path=st.text(),
    identity=st.none() | st.tuples(NUMBERS, NUMBERS),
)
HANDOVERS = st.builds(
    Handover,
    since=TIMES,
    first_settings=PLAIN,
    settings=PLAIN,
    error_log=LOG_FILES,
    access_log=st.none() | LOG_FILES,
    listeners=st.lists(LISTENERS),
    board=NUMBERS,
    fleet=st.builds(
        handover.Fleet,
        size=NUMBERS,
        generation=NUMBERS,
        newest=NUMBERS,
        preloaded=st.sets(NUMBERS),
        backoffs=st.dictionaries(NUMBERS, st.builds(Backoff, failures=NUMBERS, until=TIMES)),
    ),
    links=st.lists(links(), max_size=3),
    lending=st.builds(
        handover.Lending,
        turns=st.lists(st.tuples(NUMBERS, NUMBERS)),
        parked=WAITS,
        lingering=WAITS,
        waiting=st.lists(CONNECTIONS),
        arrivals=st.builds(
            handover.Arrivals,
            unintroduced=WAITS,
            waiting=st.lists(CONNECTIONS),
            count=NUMBERS,
        ),
    ),
    terminators=st.lists(
        st.builds(
            handover.Terminator,
            pid=NUMBERS,
            channel=NUMBERS,
            unsent=st.lists(st.tuples(st.binary(), st.lists(NUMBERS))),
            draining=st.booleans(),
        )
    ),
    metrics=st.none()
    | st.builds(handover.Listener, fd=NUMBERS, path=st.text(), identity=st.none()),
    counts=st.builds(Counts),
    control=st.none() | LISTENERS,
    began=TIMES,
    requests=NUMBERS,
)


def plain(state: Handover) -> Any:
    return msgspec.to_builtins(state, order="sorted")


@given(HANDOVERS)
def test_what_is_handed_over_arrives_as_it_was(state: Handover) -> None:
    assert plain(decode(encode(state))) == plain(state)


def an_example(**changes: Any) -> Handover:
    """A master with one worker."""
    connection = Connection(20, 0, "10.0.0.1", 4711, moved=True)
    link = handover.Link(
        worker=Worker(WorkerId(1, 1, 4711), 30.0, 5.0, math.inf, Phase.SERVING),
        books=Books(1000, {7: connection}, {8}),
        channel=10,
        unsent=[(b"packet", [20, 2])],
        row=0,
        stacks=11,
        timeout=math.inf,
        stopped=False,
        exit_due=math.inf,
    )
    state = Handover(
        since=0.0,
        first_settings=msgspec.to_builtins(Settings(app="first:app")),
        settings=msgspec.to_builtins(Settings(app="now:app")),
        error_log=handover.LogFile("", 2),
        access_log=handover.LogFile("/var/log/access.log", 12),
        listeners=[handover.Listener(13, "/run/sock", (1, 2)), handover.Listener(0, "", None)],
        board=14,
        fleet=handover.Fleet(1, 1, 1, {1}, {1: Backoff(2, 9.0)}),
        links=[link],
        lending=handover.Lending(
            [(4711, 3)],
            parked=[(msgspec.structs.replace(connection, fd=21), 80.0)],
            lingering=[(msgspec.structs.replace(connection, fd=22), 7.0)],
            waiting=[msgspec.structs.replace(connection, fd=23)],
            arrivals=handover.Arrivals(
                unintroduced=[(msgspec.structs.replace(connection, fd=24), 9.0)],
                waiting=[msgspec.structs.replace(connection, fd=26)],
                count=1,
            ),
        ),
        terminators=[handover.Terminator(4712, 25, [], draining=False)],
        metrics=handover.Listener(27, "", None),
        counts=Counts({"crash": 1}),
        control=handover.Listener(27, "/run/prefork/1.sock", (1, 3)),
        began=0.0,
        requests=0,
    )
    return msgspec.structs.replace(state, **changes)


def test_a_handover_names_every_fd_that_it_is_about_but_no_standard_stream_that_is_a_log() -> None:
    listening_at_standard_input = {0}
    assert an_example().fds() == {*range(10, 15), *range(20, 28)} | listening_at_standard_input


@pytest.mark.parametrize("size", [0, 1, 2, 10, -1])
def test_a_part_of_a_handover_is_refused(size: int) -> None:
    with pytest.raises(HandoverError, match="makes no sense"):
        decode(encode(an_example())[:size])


@given(st.binary())
def test_what_is_no_handover_is_refused(data: bytes) -> None:
    with pytest.raises(HandoverError):
        decode(data)


def test_a_handover_of_another_version_is_refused_whatever_it_holds() -> None:
    another = msgspec.msgpack.encode((handover.VERSION + 1, {"of": "another kind"}))
    with pytest.raises(HandoverError, match="needs a restart"):
        decode(another)


def test_the_form_of_a_handover_is_that_of_its_version() -> None:
    """If this fails, what is handed over, said or written on the board has changed: raise VERSION,
    unless a master of before and one of now understand each other anyway, and note the digest."""
    digests = {
        1: "4e8fc1f494c16938",
        2: "ee3f76f1389e5793",
        3: "134f0cd62e9d3086",
        4: "f9e1128d9b884bfb",
    }
    parts = [*vars(handover).values(), *vars(messages).values(), Books, WorkerId]
    records = {part.__name__: part.__annotations__ for part in parts if is_record(part)}
    states = [(state.name, state.value) for state in LoanState]
    form = repr((sorted(records.items()), ROWS, ROW_SIZE, LOANS, BOUNDS, states))
    assert hashlib.sha256(form.encode()).hexdigest()[:16] == digests[handover.VERSION]


def is_record(part: object) -> bool:
    if not isinstance(part, type) or part is Settings:
        return False
    return dataclasses.is_dataclass(part) or issubclass(part, msgspec.Struct)


def test_settings_are_handed_over_whole() -> None:
    settings = Settings(app="a:b", env={"A": "1"}, bind=["unix:x"], umask=0o22, workers="auto")
    assert settings_of(msgspec.to_builtins(settings)) == settings


def test_settings_that_another_version_has_are_left_out_and_those_that_it_lacks_are_defaults() -> (
    None
):
    given = {"app": "a:b", "colour": "green"}
    assert settings_of(given) == Settings(app="a:b")


def test_a_setting_that_is_not_valid_any_more_is_refused() -> None:
    with pytest.raises(HandoverError, match="workers"):
        settings_of({"workers": -1})


# Going on.


def used(dispatch: Dispatch[str, int], workers: str) -> list[int]:
    """The ids that are taken."""
    books = [dispatch.books(worker) for worker in workers]
    return [loan for each in books for loan in (*each.loans, *each.recalled)]


def again(dispatch: Dispatch[str, int], workers: str, busy: set[str]) -> Dispatch[str, int]:
    """The same, as the next master has it."""
    books = {worker: dispatch.books(worker) for worker in workers}
    data = msgspec.msgpack.encode((books, dispatch.turns()))
    kind = tuple[dict[str, Books[int]], list[tuple[str, int]]]
    other: Dispatch[str, int] = Dispatch(lambda worker: worker in busy, ids=IDS)
    other.take_over(*msgspec.msgpack.decode(data, type=kind))
    return other


IDS = 64


class Desk:
    """Draws what happens to a dispatch, or to two that should do the same."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.workers = ""
        self.busy: set[str] = set()
        self.count = 0

    def happen(self, *both: Dispatch[str, int]) -> None:
        choose = self.random.choice
        what = choose(["open", "leave", "lend", "lend", "lend", "move", "end", "recall"])
        what = choose([what, what, "release", "observe", "room", "busy"])
        if what == "open" and len(self.workers) < 5:
            worker = "abcde"[len(self.workers)]
            self.workers += worker
            for each in both:
                each.open(worker, 8)
                each.join(worker)
        elif what in ("lend", "move"):
            self.lend(what, both)
        elif what == "busy" and self.workers:
            self.busy ^= {choose(self.workers)}
        elif self.workers:
            self.at_one(what, choose(self.workers), both)

    def lend(self, what: str, both: tuple[Dispatch[str, int], ...]) -> None:
        borrowers = [each.next_in_turn() if what == "lend" else each.least_busy() for each in both]
        assert len(set(borrowers)) == 1, "another gets it"
        borrower = borrowers[0]
        if borrower is None:
            return
        self.count += 1
        for each in both:
            before = used(each, self.workers)
            assert each.lend(self.count, borrower) not in before, "an id that is taken"

    def at_one(self, what: str, worker: str, both: tuple[Dispatch[str, int], ...]) -> None:
        if what == "leave":
            for each in both:
                each.leave(worker)
        elif what == "observe":
            begun, scarce = self.random.randrange(3), self.random.random() < 0.5
            for each in both:
                each.observe(worker, begun, worker in self.busy, scarce)
        elif what == "room":
            for each in both:
                each.room(worker)
        elif what in ("end", "recall") and both[0].loans(worker):
            connection = self.random.choice(sorted(both[0].books(worker).loans.values()))
            for each in both:
                loans = each.books(worker).loans
                (loan,) = [loan for loan, other in loans.items() if other == connection]
                act = each.end if what == "end" else each.recall
                assert act(loan, worker) == connection
        elif what == "release":
            for each in both:
                for loan in sorted(each.books(worker).recalled):
                    each.release(loan, worker)


@given(st.integers(0, 1 << 32))
def test_connections_are_lent_on_as_if_nothing_had_happened(seed: int) -> None:
    desk = Desk(seed)
    before: Dispatch[str, int] = Dispatch(lambda worker: worker in desk.busy, ids=IDS)
    for _ in range(desk.random.randrange(100)):
        desk.happen(before)
    after = again(before, desk.workers, desk.busy)
    for _ in range(50):
        desk.happen(before, after)
    for each in (before, after):
        for worker in desk.workers:
            each.close(worker)
        each.open("last", IDS)
        each.join("last")
        free = [each.lend(number, "last") for number in range(IDS)]
        assert sorted(free) == list(range(IDS)), "an id is lost"


def a_fleet(draw: random.Random) -> Fleet:
    """Some fleet in the middle of a run: workers boot, serve, leave, hang, fail and go."""
    fleet, now = Fleet(draw.randrange(1, 4), preload=draw.random() < 0.5), 1000.0
    pid = settle(fleet, now, 0)
    for _ in range(draw.randrange(80)):
        now += draw.choice([0.0, 0.1, 5.0, 40.0])
        pid = act(fleet, now, pid)
        happen(fleet, draw, now)
    pid = settle(fleet, now, pid)
    for _ in range(draw.randrange(10)):
        pid = act(fleet, now, pid)
        happen(fleet, draw, now, reloads=False)
    act(fleet, now, pid)
    return fleet


def settle(fleet: Fleet, now: float, pid: int) -> int:
    """Have the start end, or a reload."""
    pid = act(fleet, now, pid)
    while fleet.rollout is not None or fleet.goal is Goal.START:
        for worker in list(fleet.roster):
            if worker.phase is Phase.BOOTING:
                fleet.ready(worker, now)
            elif worker.phase not in IN_THE_RING:
                fleet.exited(worker, "", now)
        now += 1.0
        pid = act(fleet, now, pid)
    return pid


def act(fleet: Fleet, now: float, pid: int) -> int:
    while steps := fleet.plan(now):
        for step in steps:
            if isinstance(step, Spawn):
                pid += 1
                fleet.spawned(WorkerId(step.slot, step.generation, pid), 30.0, 20.0, now)
    return pid


def happen(fleet: Fleet, draw: random.Random, now: float, reloads: bool = True) -> None:
    if reloads and draw.random() < 0.1 and fleet.rollout is None:
        fleet.reload(draw.randrange(1, 4), now, preload=draw.random() < 0.5)
    living = sorted(fleet.roster, key=lambda each: each.id.pid)
    if not living:
        return
    worker = draw.choice(living)
    what = draw.choice(["ready", "ready", "ready", "exit", "discard"])
    if not worker.id.is_mold:
        what = draw.choice([what, what, "leave", "hang"])
    if what == "ready":
        fleet.ready(worker, now)
    elif what == "leave":
        fleet.leave(worker, now)
    elif what == "hang":
        fleet.hangs(worker, now)
    elif what == "discard":
        fleet.discard(worker, now)
    else:
        fleet.exited(worker, "died", now)


@given(st.integers(0, 1 << 32))
def test_a_fleet_goes_on_as_if_nothing_had_happened(seed: int) -> None:
    before = a_fleet(random.Random(seed))
    data = msgspec.msgpack.encode((before.hand_over(), list(before.roster)))
    state, workers = msgspec.msgpack.decode(data, type=tuple[handover.Fleet, list[Worker]])
    after = Fleet(1)
    after.take_over(state, workers)
    pid, now = 100_000, max([5000.0, *(each.since for each in workers)])
    draws = random.Random(seed), random.Random(seed)
    for _ in range(30):
        for fleet, draw in zip((before, after), draws, strict=True):
            act(fleet, now, pid)
            happen(fleet, draw, now)
        pid += 10
        now += 3.0
        assert workers_of(before) == workers_of(after)
        assert before.deadline(now) == after.deadline(now)
        assert (before.size, before.generation) == (after.size, after.generation)


def workers_of(fleet: Fleet) -> Any:
    return msgspec.to_builtins(list(fleet.roster))
