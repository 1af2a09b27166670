"""The protocol of recall, without processes: the real board, gates, dispatch and both halves of the
protocol, between a master and workers that are modelled, with channels on which things take time.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from prefork.master.dispatch import Dispatch
from prefork.wire.board import BUSY, RECALLED, WANTED, Board, LoanState, Row
from prefork.wire.gate import Gate
from prefork.wire.messages import Closed, Lend, Loan, Released, Report, Returned, Room
from prefork.wire.recall import is_recalled, take_back, to_drop

CREDIT = 4
WORKERS = 4

which = st.integers(0, 1000)


class Life(Enum):
    """Whether a worker's process takes any step."""

    RUNS = "runs"
    STOPPED = "stopped"  # until it goes on
    DEAD = "dead"  # until the master has seen it


@dataclass(eq=False)
class Worker:
    """A worker as the protocol knows it; `app` is the loan whose request it executes."""

    row: Row
    gate: Gate
    life: Life = Life.RUNS
    held: dict[int, int] = field(default_factory=dict)  # connections by loan
    app: int | None = None
    unsent: list[Report] = field(default_factory=list)
    to_worker: deque[tuple[Lend, int]] = field(default_factory=deque)
    to_master: deque[Report] = field(default_factory=deque)

    def come_back(self, states: memoryview) -> None:
        """What a worker does first when the app returns."""
        assert self.gate.try_take(False), "the master has kept the gate"
        self.row.flags[BUSY] = 0
        if self.row.flags[RECALLED]:
            dropped = to_drop(self.row.flags, states, self.held)
            for loan in dropped:
                del self.held[loan]
            self.unsent.append(Released(dropped))
        if self.row.flags[WANTED]:
            self.row.flags[WANTED] = 0
            self.unsent.append(Room())


class Service(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.board = Board()
        self.states = self.board.loans
        self.dispatch: Dispatch[Worker, int] = Dispatch(lambda worker: worker.row.flags[BUSY])
        self.workers: list[Worker] = []
        self.parked: list[int] = []
        self.waiting: deque[int] = deque()
        self.open: set[int] = set()
        self.accepted = 0
        self.free_rows = list(range(WORKERS))
        for _ in range(2):
            self.spawn()
        self.accept(6)
        for worker in self.workers:
            self.take_in(worker, 2)

    # Workers come and go.

    @precondition(lambda self: self.free_rows)
    @rule()
    def spawn(self) -> None:
        row = self.board.row(self.free_rows.pop())
        row.clear()
        worker = Worker(row, Gate.held())
        self.workers.append(worker)
        self.dispatch.open(worker, CREDIT)
        self.dispatch.join(worker, scarce=bool(self.waiting))
        self.use_room()

    @precondition(lambda self: len(self.workers) > 2)
    @rule(index=which)
    def retire(self, index: int) -> None:
        self.dispatch.leave(self.pick(index))

    @precondition(lambda self: self.some(runs))
    @rule(index=which)
    def stop(self, index: int) -> None:
        """Between any two steps: others go on for as long as they like."""
        self.pick(index, runs).life = Life.STOPPED

    @precondition(lambda self: self.some(is_stopped))
    @rule(index=which)
    def go_on(self, index: int) -> None:
        self.pick(index, is_stopped).life = Life.RUNS

    @precondition(lambda self: len([each for each in self.workers if not is_dead(each)]) > 1)
    @rule(index=which)
    def die(self, index: int) -> None:
        """The master does not know yet: it may lend to the dead, and take from them."""
        worker = self.pick(index, lambda worker: not is_dead(worker))
        worker.life = Life.DEAD
        worker.unsent.clear()

    @precondition(lambda self: self.some(is_dead))
    @rule(index=which)
    def bury(self, index: int) -> None:
        worker = self.pick(index, is_dead)
        self.workers.remove(worker)
        self.free_rows.append(worker.row.number)
        self.dispatch.leave(worker)
        while worker.to_master:
            self.hear(worker)
        for loan, connection in self.dispatch.close(worker).items():
            if self.states[loan] in (LoanState.UNREAD, LoanState.IDLE, LoanState.RETURNED):
                self.parked.append(connection)
            else:
                assert self.states[loan] != LoanState.RECALLED
                self.open.remove(connection)
        self.use_room()

    # What the master does.

    @precondition(lambda self: not self.waiting)
    @rule(count=st.integers(1, 4))
    def accept(self, count: int) -> None:
        for _ in range(count):
            self.accepted += 1
            self.open.add(self.accepted)
            worker = self.dispatch.next_in_turn()
            if worker is None:
                self.waiting.append(self.accepted)
                self.call_for_room()
                return
            self.lend(self.accepted, worker)

    @precondition(lambda self: self.parked)
    @rule(index=which)
    def parked_one_is_readable(self, index: int) -> None:
        self.waiting.append(self.parked.pop(index % len(self.parked)))
        self.use_room()

    @rule(most=st.integers(1, 3))
    def tick(self, most: int) -> None:
        for worker in self.workers:
            busy = bool(worker.row.flags[BUSY])
            self.dispatch.observe(worker, worker.row.counters[0], busy, bool(self.waiting))
        if self.dispatch.has_room():
            for worker in self.dispatch.stuck():
                self.recall_from(worker, most)
        self.use_room()

    @precondition(lambda self: self.workers)
    @rule(index=which, most=st.integers(1, 3))
    def recall_from_anybody(self, index: int, most: int) -> None:
        """Not only the stuck: the gate alone has to see to it that nothing goes wrong."""
        self.recall_from(self.pick(index), most)

    @precondition(lambda self: self.some(lambda worker: worker.to_master))
    @rule(index=which)
    def hear_a_report(self, index: int) -> None:
        self.hear(self.pick(index, lambda worker: worker.to_master))

    def recall_from(self, worker: Worker, most: int) -> None:
        loans = self.dispatch.loans_of(worker)
        taken = take_back(worker.gate, worker.row.flags, self.states, loans, most)
        assert (taken is None) == (worker.app is None)
        for loan in taken or []:
            assert loan != worker.app
            self.parked.append(self.dispatch.recall(loan, worker))

    def hear(self, worker: Worker) -> None:
        """Neither `Closed` nor `Returned` can name a recalled loan: that would raise here."""
        report = worker.to_master.popleft()
        if isinstance(report, Closed):
            for loan in report.loans:
                self.open.remove(self.dispatch.end(loan, worker))
        elif isinstance(report, Returned):
            self.parked += [self.dispatch.end(loan, worker) for loan in report.loans]
        elif isinstance(report, Released):
            for loan in report.loans:
                self.dispatch.release(loan, worker)
        else:
            self.dispatch.room(worker)
        self.use_room()

    def use_room(self) -> None:
        while self.waiting:
            worker = self.dispatch.least_busy()
            if worker is None:
                self.call_for_room()
                return
            self.lend(self.waiting.popleft(), worker)

    def call_for_room(self) -> None:
        for worker in self.dispatch.narrow():
            worker.row.flags[WANTED] = 1

    def lend(self, connection: int, worker: Worker) -> None:
        loan = self.dispatch.lend(connection, worker)
        for other in self.workers:
            assert loan not in other.held, "the id of a loan that somebody still has"
            under_way = [lend.loans[0].id for lend, _ in other.to_worker]
            assert loan not in under_way, "the id of a loan that somebody may still receive"
        self.states[loan] = LoanState.UNREAD
        worker.to_worker.append((Lend([Loan(loan, 0, "", 0)]), connection))

    # What workers do, in their loops and in the app.

    @precondition(lambda self: self.some(lambda worker: in_loop(worker) and worker.to_worker))
    @rule(index=which, count=st.integers(1, 4))
    def receive(self, index: int, count: int) -> None:
        self.take_in(self.pick(index, lambda worker: in_loop(worker) and worker.to_worker), count)

    def take_in(self, worker: Worker, count: int) -> None:
        for _ in range(min(count, len(worker.to_worker))):
            lend, connection = worker.to_worker.popleft()
            loan = lend.loans[0].id
            if is_recalled(self.states, loan):
                worker.unsent.append(Released([loan]))
            else:
                worker.held[loan] = connection

    @precondition(lambda self: self.some(lambda worker: in_loop(worker) and worker.held))
    @rule(index=which, loan=which, whole=st.sampled_from([True, True, True, False]))
    def read_a_request(self, index: int, loan: int, whole: bool) -> None:
        worker = self.pick(index, lambda worker: in_loop(worker) and worker.held)
        chosen = list(worker.held)[loan % len(worker.held)]
        assert self.holders(worker.held[chosen]) == [worker], "read by one who has it no more"
        self.states[chosen] = LoanState.BUSY
        if whole:
            worker.app = chosen
            worker.row.counters[0] += 1
            worker.row.flags[BUSY] = 1
            worker.gate.let_go()

    @precondition(lambda self: self.some(in_app))
    @rule(index=which)
    def respond(self, index: int) -> None:
        worker = self.pick(index, in_app)
        assert worker.app is not None
        self.states[worker.app] = LoanState.RESPONDING

    @precondition(lambda self: self.some(in_app))
    @rule(index=which, closes=st.booleans())
    def return_from_the_app(self, index: int, closes: bool) -> None:
        worker = self.pick(index, in_app)
        assert worker.app is not None
        loan, worker.app = worker.app, None
        worker.come_back(self.states)
        if closes:
            self.close(worker, loan, LoanState.CLOSED)
        else:
            self.states[loan] = LoanState.IDLE

    @precondition(lambda self: self.some(in_loop))
    @rule(index=which, loan=which)
    def end_an_idle_one(self, index: int, loan: int) -> None:
        worker = self.pick(index, in_loop)
        idle = self.idle(worker)
        if idle:
            self.close(worker, idle[loan % len(idle)], LoanState.ENDED)

    @precondition(lambda self: self.some(in_loop))
    @rule(index=which, count=st.integers(1, 4))
    def give_back(self, index: int, count: int) -> None:
        worker = self.pick(index, in_loop)
        given = self.idle(worker)[:count]
        for loan in given:
            self.states[loan] = LoanState.RETURNED
            del worker.held[loan]
        if given:
            worker.unsent.append(Returned(given))

    @precondition(lambda self: self.some(lambda worker: worker.unsent))
    @rule(index=which)
    def report(self, index: int) -> None:
        """Even while the app runs: what was sent before may arrive only now."""
        worker = self.pick(index, lambda worker: worker.unsent)
        worker.to_master.extend(worker.unsent)
        worker.unsent.clear()

    def close(self, worker: Worker, loan: int, state: LoanState) -> None:
        self.states[loan] = state
        del worker.held[loan]
        worker.unsent.append(Closed([loan]))

    def idle(self, worker: Worker) -> list[int]:
        at_rest = (LoanState.UNREAD, LoanState.IDLE)
        return [loan for loan in worker.held if self.states[loan] in at_rest]

    # What always holds.

    @invariant()
    def every_connection_is_in_one_place(self) -> None:
        places = Counter([*self.parked, *self.waiting])
        for worker in self.workers:
            for loan in self.dispatch.loans_of(worker):
                assert self.states[loan] != LoanState.RECALLED
            places.update(self.dispatch._books[worker].loans.values())
        assert places == Counter(self.open)

    @invariant()
    def what_is_lent_is_held_by_one_and_what_is_not_by_none(self) -> None:
        at_home = {*self.parked, *self.waiting}
        for connection in self.open:
            assert len(self.holders(connection)) <= (connection not in at_home)

    @invariant()
    def nobody_in_its_loop_has_what_was_recalled(self) -> None:
        for worker in self.workers:
            if worker.app is None:
                assert LoanState.RECALLED not in [self.states[loan] for loan in worker.held]

    @invariant()
    def nobody_borrows_more_than_it_may(self) -> None:
        for worker in self.workers:
            under_way = [lend.loans[0].id for lend, _ in worker.to_worker]
            assert len(worker.held) + len(under_way) <= CREDIT

    # Who is who.

    def holders(self, connection: int) -> list[Worker]:
        """Who may read from the connection when it is next in its loop."""
        return [
            worker
            for worker in self.workers
            for loan, held in worker.held.items()
            if held == connection and self.states[loan] != LoanState.RECALLED
        ]

    def some(self, such: Callable[[Worker], object]) -> bool:
        return any(such(worker) for worker in self.workers)

    def pick(self, index: int, such: Callable[[Worker], object] = bool) -> Worker:
        able = [worker for worker in self.workers if such(worker)]
        return able[index % len(able)]


def runs(worker: Worker) -> bool:
    return worker.life is Life.RUNS


def is_stopped(worker: Worker) -> bool:
    return worker.life is Life.STOPPED


def is_dead(worker: Worker) -> bool:
    return worker.life is Life.DEAD


def in_loop(worker: Worker) -> bool:
    return runs(worker) and worker.app is None


def in_app(worker: Worker) -> bool:
    return runs(worker) and worker.app is not None


Service.TestCase.settings = settings(max_examples=400, stateful_step_count=60, deadline=None)
TestService = Service.TestCase


@pytest.fixture
def board() -> Board:
    return Board()


def held_gate(board: Board) -> tuple[Gate, Row]:
    return Gate.held(), board.row(0)


def test_nothing_is_taken_from_a_worker_in_its_loop(board: Board) -> None:
    gate, row = held_gate(board)
    assert take_back(gate, row.flags, board.loans, [1, 2], most=10) is None
    assert row.flags[RECALLED] == 0


def test_what_is_idle_or_unread_is_taken_and_nothing_else(board: Board) -> None:
    gate, row = held_gate(board)
    gate.let_go()
    for state in LoanState:
        board.loans[state] = state
    taken = take_back(gate, row.flags, board.loans, list(LoanState), most=100)
    assert taken == [LoanState.UNREAD, LoanState.IDLE]
    assert row.flags[RECALLED] == 1
    assert gate.try_take(False), "the gate is open again"
    assert to_drop(row.flags, board.loans, [0, 1, 2]) == taken
    assert row.flags[RECALLED] == 0


def test_no_more_is_taken_at_once_than_was_asked_for(board: Board) -> None:
    gate, row = held_gate(board)
    gate.let_go()
    assert take_back(gate, row.flags, board.loans, range(10), most=4) == [0, 1, 2, 3]
    assert take_back(gate, row.flags, board.loans, range(4, 10), most=100) == [4, 5, 6, 7, 8, 9]


def test_a_worker_is_told_nothing_where_nothing_was_taken(board: Board) -> None:
    gate, row = held_gate(board)
    gate.let_go()
    board.loans[1] = LoanState.BUSY
    assert take_back(gate, row.flags, board.loans, [1], most=10) == []
    assert row.flags[RECALLED] == 0
