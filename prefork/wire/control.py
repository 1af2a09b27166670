"""What `preforkctl` and the master can say to each other over the control socket.

Both ways a message is a JSON object on a line of its own. A request says by `do` what it wants, an
answer by `is` what it is. Each request has one answer, in order; before it may come, for a reload
that is waited for, `Progress`, and for `GetStacks` as many `Stacks` as there are workers.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

# Bytes of a request, with the end of its line.
LONGEST_REQUEST = 4096
# Seconds.
MOST_INTEREST = 3600.0


class _Request(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="do",
):
    pass


class GetStatus(_Request, frozen=True, tag="status"):
    """What there is, and what it does: `Status`. With an `interest`, also how long requests take:
    that is counted from now on for so many seconds."""

    interest: Annotated[float, Meta(ge=0, le=MOST_INTEREST)] = 0.0


class Reload(_Request, frozen=True, tag="reload"):
    """Replace every worker: `Done` at once or, with `wait`, `Reloaded` when it has ended."""

    wait: bool = False


class Stop(_Request, frozen=True, tag="stop"):
    """Stop; with `quick`, what runs gets one second: `Done` at once."""

    quick: bool = False


class Scale(_Request, frozen=True, tag="scale"):
    """Have `count` workers, or so many more, or fewer, if that is `relative`: `Done`."""

    count: int
    relative: bool = False


class ReopenLogs(_Request, frozen=True, tag="reopen-logs"):
    """Open the log files again: `Done`."""


class Retire(_Request, frozen=True, tag="retire"):
    """Replace the worker of this slot, the new one first: `Done` at once."""

    slot: int


class GetStacks(_Request, frozen=True, tag="stacks"):
    """What the workers of these slots do, or all if there are none: `Stacks`, then `Done`."""

    slots: list[int] = []


class _Answer(msgspec.Struct, frozen=True, kw_only=True, tag_field="is"):
    pass


class Done(_Answer, frozen=True, tag="done"):
    """It is done, or has begun: `what` says so, in words."""

    what: str


class Refused(_Answer, frozen=True, tag="refused"):
    """It can't be done, and `why`."""

    why: str


class WorkerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A worker; or a slot that has none, whose `pid` is 0.

    `age` is in seconds, since it became ready or, until it does, since it was forked. `in_flight`
    are the requests that are being received, executed or answered, `connections` what it has
    borrowed; None where only the worker knows. `last_error` is what has befallen its slot last,
    and `error_age` the seconds since. `memory` is its proportional set size in bytes, which
    preforkctl finds out itself.
    """

    slot: int
    pid: int
    generation: int
    state: str
    age: float = 0.0
    requests: int = 0
    in_flight: int | None = None
    connections: int | None = None
    last_error: str = ""
    error_age: float | None = None
    memory: int | None = None


class Status(_Answer, frozen=True, tag="status"):
    """The master, and its workers by slot, as they were within the last 50 ms.

    `state` is "starting", "serving", "reloading", "upgrading" or "stopping"; `uptime` is in
    seconds. `requests` are those that all workers have begun so far, also the ones that are gone.
    `connections` are all there are; `parked` ones wait in the master for their next request,
    `waiting` ones for a worker. `durations` are told to those who have an interest: how many
    requests have ended since there is one, by the pid of their worker, 0 for those that are no
    more: up to each of `tally.BOUNDS` seconds, and longer.
    """

    pid: int
    version: str
    app: str
    state: str
    uptime: float
    generation: int
    size: int
    listeners: list[str]
    requests: int
    connections: int
    parked: int
    waiting: int
    workers: list[WorkerStatus]
    durations: dict[int, list[int]] | None = None


class Stacks(_Answer, frozen=True, tag="stacks"):
    """Where the threads of a worker are; `text` is empty if it could not say."""

    slot: int
    pid: int
    generation: int
    text: str


class Progress(_Answer, frozen=True, tag="progress"):
    """Something has happened in a reload: `event` is one of

    - "queued": another reload, an upgrade or the start is under way, and ours comes after it;
    - "begun": `slots` are to be replaced;
    - "spawned", "ready", "baking", "draining", "gone": the slot's worker of that generation;
    - "aborted": it has failed, as `why` says; what it has left behind is being cleared away.

    `replaced` of the `slots` have a new worker so far.
    """

    event: str
    slot: int = 0
    generation: int = 0
    pid: int = 0
    seconds: float = 0.0
    replaced: int = 0
    slots: int = 0
    why: str = ""


class Reloaded(_Answer, frozen=True, tag="reloaded"):
    """A reload has ended. If it is `good` every slot runs the new generation. Otherwise `why` says
    what has failed, and `trace` what is known of the place: the app's traceback, or the stacks of
    a worker that hung. `slots` have the new generation all the same."""

    good: bool
    generation: int = 0
    seconds: float = 0.0
    why: str = ""
    trace: str = ""
    slots: list[int] = []


Request = GetStatus | Reload | Stop | Scale | ReopenLogs | Retire | GetStacks
Answer = Done | Refused | Status | Stacks | Progress | Reloaded

_encode = msgspec.json.Encoder().encode
decode_request = msgspec.json.Decoder(Request).decode
decode_answer = msgspec.json.Decoder(Answer).decode


def encode(message: Request | Answer) -> bytes:
    """A message as a line."""
    return _encode(message) + b"\n"
