"""What the master and a worker can say to each other.

The master gives commands, a worker reports facts. One packet holds one message, encoded as a
MessagePack array that begins with the message's tag, so no message encodes to nothing (an empty
packet is the end of the channel). Decoding validates: whatever is not one of these raises
`msgspec.DecodeError` (of which `ValidationError` is a subclass).
"""

from __future__ import annotations

import msgspec

from prefork.wire.introduction import Secure


class Loan(msgspec.Struct, frozen=True, array_like=True):
    """One connection of a `Lend`: its id, the listener it came in by, and the client's address.

    `listener` is an index into `Assignment.listeners`; `host` is empty for a unix socket. `secure`
    is what is known of TLS, where the client speaks it with somebody in front.
    """

    id: int
    listener: int
    host: str
    port: int
    secure: Secure | None = None


class Lend(msgspec.Struct, frozen=True, array_like=True, tag="lend"):
    """Borrow these connections; their fds travel beside the message, in the same order."""

    loans: list[Loan]


class Drain(msgspec.Struct, frozen=True, array_like=True, tag="drain"):
    """Retire: keep-alive off, idle loans back, finish what runs, exit. A mold just exits.

    Without `moving` there is no other worker to take the idle connections over, as the service
    stops: they are ended, and what has arrived on them is served first.
    """

    moving: bool


class GiveBack(msgspec.Struct, frozen=True, array_like=True, tag="give-back"):
    """Return so many idle loans, or as many as there are: others have room for them."""

    count: int


class ReopenLogs(msgspec.Struct, frozen=True, array_like=True, tag="reopen-logs"):
    """The log files were rotated: beside this come the new fds, of the error log and, where there
    is one, of the access log. The master opens them, as workers may have lost the right to.
    """


class Cast(msgspec.Struct, frozen=True, array_like=True, tag="cast"):
    """To a mold: fork a worker for this slot. Beside this come its end of the channel, and the
    memfd for its stacks; `row` is its row of the board, whose gate it has if it is `gated`.
    """

    slot: int
    row: int
    gated: bool


class Terminate(msgspec.Struct, frozen=True, array_like=True, tag="terminate"):
    """To a terminator: speak TLS with this client. Beside this come its socket, and the end of a
    socketpair on which its connection is to go on in the clear, behind an introduction.

    `id` is what the master calls it; the addresses are those of the client and of the listener.
    """

    id: int
    host: str
    port: int
    server_host: str
    server_port: int


class Cut(msgspec.Struct, frozen=True, array_like=True, tag="cut"):
    """To a terminator: what this connection has brought is not whole. Its end, which comes after
    this, must not look to the client as if it was."""

    id: int


class Born(msgspec.Struct, frozen=True, array_like=True, tag="born"):
    """The first word of a worker that a mold has forked."""

    pid: int


class Ready(msgspec.Struct, frozen=True, array_like=True, tag="ready"):
    """The app is imported and can serve; of a mold, workers can be forked from it."""


class Failed(msgspec.Struct, frozen=True, array_like=True, tag="failed"):
    """This worker, or mold, can't be one, and exits: `why` is what it has logged, with the app's
    traceback; of a long one only the end."""

    why: str


class Leaving(msgspec.Struct, frozen=True, array_like=True, tag="leaving"):
    """This worker wants to be replaced: it serves on until the master drains it.

    `why` goes on in the log where the worker's name ends: "received SIGTERM", say.
    """

    why: str


class Closed(msgspec.Struct, frozen=True, array_like=True, tag="closed"):
    """These loans have ended: the connections are to be closed.

    The board says how: a loan left `RESPONDING` was cut in the middle of a response and is to be
    reset, one left `ENDED` can be closed at once, any other has to linger.
    """

    loans: list[int]


class Returned(msgspec.Struct, frozen=True, array_like=True, tag="returned"):
    """These loans were idle and are given back: the connections live on."""

    loans: list[int]


class Released(msgspec.Struct, frozen=True, array_like=True, tag="released"):
    """These loans were recalled, and the worker has nothing of them any more: their ids may be
    used again."""

    loans: list[int]


class Room(msgspec.Struct, frozen=True, array_like=True, tag="room"):
    """The worker can begin a request, after it could not: the master has asked to be told."""


Command = Lend | Drain | GiveBack | ReopenLogs | Cast
TerminatorCommand = Terminate | Cut | Drain | ReopenLogs
Report = Born | Ready | Failed | Leaving | Closed | Returned | Released | Room

encode = msgspec.msgpack.Encoder().encode
decode_command = msgspec.msgpack.Decoder(Command).decode
decode_terminator_command = msgspec.msgpack.Decoder(TerminatorCommand).decode
decode_report = msgspec.msgpack.Decoder(Report).decode
