"""A worker's life as it sees it itself: a table, applied by one function. Pure.

    IMPORTING --imported--> PROBING --probed--> SERVING --drain--> DRAINING --empty--> ENDED
        |          `--> WAITING --app says ready--^
        `--app says ready--> ANNOUNCED --imported--^

With `wait_ready` a worker is probed only when the app has been imported and has called
`prefork.ready()`, in whichever order; it serves when the probe was answered.
"""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """Where in its life the worker is."""

    IMPORTING = "importing the app"
    WAITING = "waiting for the app to say that it is ready"
    ANNOUNCED = "importing the app, which has said that it is ready"
    PROBING = "asking the app whether it can serve"
    SERVING = "serving"
    DRAINING = "draining"
    ENDED = "ended"


class Event(Enum):
    """What can happen to it."""

    IMPORTED = "the app is imported"
    APP_READY = "the app says that it is ready"
    PROBED = "the app has answered that it can serve"
    LEAVE = "it should be replaced: SIGTERM came, or a limit is reached"
    DRAIN = "the master says drain: another worker takes over"
    STOP = "the master says drain: the service stops"
    ORPHANED = "the master is gone"
    EMPTY = "no connection is left"


class Action(Enum):
    """What is to be done on the way into a state, or within one."""

    NOTHING = "nothing"
    PROBE = "ask the app whether it can serve"
    REPORT_READY = "tell the master that it can serve"
    REPORT_LEAVING = "tell the master that it wants to be replaced"
    RETURN_IDLE = "give the idle loans back"
    END_IDLE = "end the idle connections: there is nobody to give them to"
    EXIT = "leave the loop"


_S, _E, _A = State, Event, Action

# A draining master sends Drain to those that serve and kills those that boot: what happens to a
# booting worker besides is not its affair.
_BOOTING = {
    _E.LEAVE: (None, _A.NOTHING),
    _E.DRAIN: (_S.ENDED, _A.EXIT),
    _E.STOP: (_S.ENDED, _A.EXIT),
    _E.ORPHANED: (_S.ENDED, _A.EXIT),
    _E.EMPTY: (None, _A.NOTHING),
    _E.PROBED: (None, _A.NOTHING),
}

TRANSITIONS: dict[State, dict[Event, tuple[State | None, Action]]] = {
    _S.IMPORTING: {
        **_BOOTING,
        _E.IMPORTED: (_S.WAITING, _A.NOTHING),
        _E.APP_READY: (_S.ANNOUNCED, _A.NOTHING),
    },
    _S.WAITING: {
        **_BOOTING,
        _E.IMPORTED: (None, _A.NOTHING),
        _E.APP_READY: (_S.PROBING, _A.PROBE),
    },
    _S.ANNOUNCED: {
        **_BOOTING,
        _E.IMPORTED: (_S.PROBING, _A.PROBE),
        _E.APP_READY: (None, _A.NOTHING),
    },
    _S.PROBING: {
        **_BOOTING,
        _E.IMPORTED: (None, _A.NOTHING),
        _E.APP_READY: (None, _A.NOTHING),
        _E.PROBED: (_S.SERVING, _A.REPORT_READY),
    },
    _S.SERVING: {
        _E.IMPORTED: (None, _A.NOTHING),
        _E.APP_READY: (None, _A.NOTHING),
        _E.PROBED: (None, _A.NOTHING),
        _E.LEAVE: (None, _A.REPORT_LEAVING),
        _E.DRAIN: (_S.DRAINING, _A.RETURN_IDLE),
        _E.STOP: (_S.DRAINING, _A.END_IDLE),
        _E.ORPHANED: (_S.DRAINING, _A.END_IDLE),
        _E.EMPTY: (None, _A.NOTHING),
    },
    _S.DRAINING: {
        _E.IMPORTED: (None, _A.NOTHING),
        _E.APP_READY: (None, _A.NOTHING),
        _E.PROBED: (None, _A.NOTHING),
        _E.LEAVE: (None, _A.NOTHING),
        _E.DRAIN: (None, _A.NOTHING),
        _E.STOP: (None, _A.END_IDLE),
        _E.ORPHANED: (None, _A.END_IDLE),
        _E.EMPTY: (_S.ENDED, _A.EXIT),
    },
    _S.ENDED: dict.fromkeys(Event, (None, _A.NOTHING)),
}


class Lifecycle:
    """The state of this worker.

    Args:
        wait_ready: whether the app has to say that it is ready.
    """

    def __init__(self, wait_ready: bool) -> None:
        self.state = State.IMPORTING if wait_ready else State.ANNOUNCED

    def apply(self, event: Event) -> Action:
        """Note what has happened: what is to be done about it."""
        state, action = TRANSITIONS[self.state][event]
        if state is not None:
            self.state = state
        return action
