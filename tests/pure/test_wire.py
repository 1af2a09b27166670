"""What master and workers share: messages, the channel, the board."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import msgspec
import pytest

from prefork.wire import channel, messages
from prefork.wire.board import BUSY, RECALLED, RETIRING, ROWS, WANTED, Board, LoanState
from prefork.wire.channel import Channel, ChannelClosed, MasterChannel, WorkerChannel
from prefork.wire.gate import Gate

COMMANDS: list[messages.Command] = [
    messages.Lend([messages.Loan(7, 1, "192.0.2.1", 4711), messages.Loan(8, 0, "", 0)]),
    messages.Drain(moving=True),
    messages.Drain(moving=False),
    messages.GiveBack(3),
    messages.ReopenLogs(),
]
REPORTS: list[messages.Report] = [
    messages.Ready(),
    messages.Leaving("received SIGTERM"),
    messages.Closed([1, 2, 3]),
    messages.Returned([]),
    messages.Released([4]),
    messages.Room(),
]


@pytest.fixture
def ends() -> Iterator[tuple[MasterChannel, WorkerChannel]]:
    ours, theirs = channel.pair()
    master: MasterChannel = Channel(ours, messages.decode_report)
    worker: WorkerChannel = Channel(theirs, messages.decode_command)
    yield master, worker
    master.close()
    worker.close()


@pytest.mark.parametrize("message", [*COMMANDS, *REPORTS], ids=repr)
def test_a_message_survives_its_encoding_and_is_never_nothing(message: msgspec.Struct) -> None:
    packet = messages.encode(message)
    decode = messages.decode_command if message in COMMANDS else messages.decode_report
    assert packet
    assert decode(packet) == message


@pytest.mark.parametrize(
    "packet", [b"\x00", b"nonsense", b"\x91\xa5ready" + b"x", b"\x90", b"\xc0"]
)
def test_what_is_no_message_is_refused(packet: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        messages.decode_report(packet)


def test_a_worker_can_not_command_the_master() -> None:
    with pytest.raises(msgspec.DecodeError):
        messages.decode_report(messages.encode(messages.Drain(moving=True)))


def test_messages_arrive_in_order(ends: tuple[MasterChannel, WorkerChannel]) -> None:
    master, worker = ends
    for command in COMMANDS:
        master.send(command)
    assert [message for message, _ in worker.receive()] == COMMANDS


def test_fds_arrive_beside_their_message_and_are_not_inherited(
    ends: tuple[MasterChannel, WorkerChannel],
) -> None:
    master, worker = ends
    reader, writer = os.pipe()
    master.send(COMMANDS[0], [reader, writer])
    ((message, fds),) = worker.receive()
    assert message == COMMANDS[0]
    assert not any(os.get_inheritable(fd) for fd in fds)
    os.write(fds[1], b"through")
    assert os.read(reader, 100) == b"through"
    for fd in (reader, writer, *fds):
        os.close(fd)


def test_a_full_channel_keeps_messages_in_order_until_it_is_flushed(
    ends: tuple[MasterChannel, WorkerChannel],
) -> None:
    master, worker = ends
    sent = 0
    while not master.backlogged:
        master.send(messages.Lend([messages.Loan(sent, 0, "", 0)]))
        sent += 1
    for _ in range(10):
        master.send(messages.Lend([messages.Loan(sent, 0, "", 0)]))
        sent += 1
    received: list[int] = []
    while len(received) < sent:
        for message, _ in worker.receive():
            assert isinstance(message, messages.Lend)
            received.append(message.loans[0].id)
        master.flush()
    assert received == list(range(sent))
    assert not master.backlogged


def test_the_last_words_of_a_dead_worker_are_heard(
    ends: tuple[MasterChannel, WorkerChannel],
) -> None:
    master, worker = ends
    worker.send(messages.Returned([5]))
    worker.close()
    reports = master.receive()
    assert next(reports)[0] == messages.Returned([5])
    with pytest.raises(ChannelClosed):
        next(reports)


def test_sending_to_a_dead_worker_says_so(ends: tuple[MasterChannel, WorkerChannel]) -> None:
    master, worker = ends
    worker.close()
    with pytest.raises(ChannelClosed):
        master.send(messages.Drain(moving=True))


def test_a_packet_is_one_message_though_the_peer_writes_raw_bytes() -> None:
    ours, theirs = channel.pair()
    master: MasterChannel = Channel(ours, messages.decode_report)
    theirs.send(messages.encode(messages.Ready()) + b"tail")
    with pytest.raises(msgspec.DecodeError):
        list(master.receive())
    assert theirs.type == socket.SOCK_SEQPACKET
    master.close()
    theirs.close()


def test_the_board_is_seen_by_a_parent_after_its_child_was_killed() -> None:
    board = Board()
    row = board.row(3)
    pid = os.fork()
    if pid == 0:
        board.loans[42] = LoanState.RESPONDING
        row.counters[0] = 1 << 40
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    assert board.loans[42] == LoanState.RESPONDING
    assert row.counters[0] == 1 << 40


def test_rows_do_not_overlap() -> None:
    board = Board()
    flags = (RETIRING, BUSY, RECALLED, WANTED)
    for number in (0, 1, ROWS - 1):
        row = board.row(number)
        row.counters[0] = number + 1
        row.heartbeat[0] = number + 0.5
        for flag in flags:
            row.flags[flag] = flag + 1
    board.row(1).clear()
    rows = [board.row(number) for number in (0, 1, ROWS - 1)]
    assert [row.counters[0] for row in rows] == [1, 0, ROWS]
    assert [row.heartbeat[0] for row in rows] == [0.5, 0, ROWS - 0.5]
    for flag in flags:
        assert [row.flags[flag] for row in rows] == [flag + 1, 0, flag + 1]


def test_a_gate_is_held_for_its_worker_from_the_beginning() -> None:
    gate = Gate.held()
    assert not gate.try_take(False)
    gate.let_go()
    assert gate.try_take(False)


def test_a_gate_that_another_process_lets_go_of_can_be_taken() -> None:
    gate = Gate.held()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.read(reader, 1)
        gate.let_go()
        os._exit(0)
    assert not gate.try_take(False)
    os.write(writer, b"!")
    gate.take(alone=lambda: False)
    os.waitpid(pid, 0)
    for fd in (reader, writer):
        os.close(fd)


def test_a_worker_goes_on_when_its_master_is_killed_with_the_gate_in_its_hands() -> None:
    gate = Gate.held()
    gate.let_go()
    ours, theirs = channel.pair()
    pid = os.fork()
    if pid == 0:  # the master
        ours.close()
        assert gate.try_take(False)
        os.kill(os.getpid(), 9)
    theirs.close()
    worker: WorkerChannel = Channel(ours, messages.decode_command)
    os.waitpid(pid, 0)
    assert not gate.try_take(False), "the dead master has it"
    gate.take(alone=lambda: worker.abandoned)
    worker.close()


def test_a_channel_is_abandoned_when_its_peer_is_gone_though_there_is_something_to_read(
    ends: tuple[MasterChannel, WorkerChannel],
) -> None:
    master, worker = ends
    assert not worker.abandoned
    master.send(messages.Drain(moving=True))
    assert not worker.abandoned
    master.close()
    assert worker.abandoned
