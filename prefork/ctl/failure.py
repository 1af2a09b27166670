"""Why `preforkctl` has not done what it was told to, each with an exit status of its own.

CtlError            (1) the master refuses, or anything else
|-- UsageError      (2) the command line or the configuration; prefork's own
|-- ReloadFailed    (3) not every slot runs the new code
|-- NoMaster        (4) nothing listens there
|-- SeveralMasters  (5) which one?
|-- NotPermitted    (6) it is somebody else's
|-- TimedOut        (7) not done within --timeout; it goes on
`-- ConnectionLost  (8) the master has gone away in the middle
"""

from __future__ import annotations

from prefork.errors import PreforkError, UsageError

EXIT_STATUS = {
    0: "Done; of `reload --wait`: every slot runs the new code.",
    1: "The master refuses, or failed for a reason that is not listed below.",
    UsageError.exit_code: "The command line or the configuration can't be used.",
    3: "The reload has failed: not every slot runs the new code.",
    4: "Nothing listens there: no master, or one without a control socket.",
    5: "There are several masters, and it was not said which one is meant.",
    6: "Not permitted: the master is another user's.",
    7: "Not done within `--timeout`. What was begun goes on.",
    8: "The connection was lost: the master has ended, or has let go of it.",
}


class CtlError(PreforkError):
    """What was asked for is not done; the message says why."""


class Refusal(CtlError):
    """The master refuses."""


class ReloadFailed(CtlError):
    """Not every slot runs the new code; `trace` is what is known of the place."""

    exit_code = 3

    def __init__(self, why: str, trace: str) -> None:
        super().__init__(why)
        self.trace = trace


class NoMaster(CtlError):
    """Nothing listens there."""

    exit_code = 4


class SeveralMasters(CtlError):
    """It was not said which one is meant."""

    exit_code = 5


class NotPermitted(CtlError):
    """It is somebody else's."""

    exit_code = 6


class TimedOut(CtlError):
    """Not done in time."""

    exit_code = 7


class ConnectionLost(CtlError):
    """The master has gone away."""

    exit_code = 8
