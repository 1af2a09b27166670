"""The errors that prefork raises on purpose.

    PreforkError            ours, or the operator's: ends the process with `exit_code`
    |-- UsageError          a wrong setting or command line (2)
    |-- BootError           the app can't be imported or never became ready (3)
    `-- HandoverError       what another master hands over can't be taken over (1)

    HTTPError               the client's: carries the status to answer with
    RequestTimeout          the app's: raised in it when its request takes too long
    Untranslatable          gunicorn's: a value of its settings that has no equal here

Each carries its outcome, so that one handler needs only to read it.
"""

from __future__ import annotations

from http import HTTPStatus


class PreforkError(Exception):
    """A failure whose message is all that an operator needs to see."""

    exit_code = 1


class UsageError(PreforkError):
    """A setting, an option or a configuration file that can't be used.

    Args:
        why: what is wrong.
        setting: the setting that is at fault, where the raiser does not know its origin.
    """

    exit_code = 2

    def __init__(self, why: str, setting: str = "") -> None:
        super().__init__(why)
        self.setting = setting


class BootError(PreforkError):
    """The app is not there, can't be imported, or is not callable."""

    exit_code = 3


class HandoverError(PreforkError):
    """What another master hands over is of another version, or makes no sense."""


class HTTPError(Exception):
    """What the client sent can't be served: answer with `status` and close the connection.

    Args:
        status: the status of the answer.
        why: what was wrong, in one line of ASCII: it is the body of the answer.
    """

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


class RequestTimeout(BaseException):
    """The request has taken longer than `request_timeout`: it is answered with 504.

    Raised in the app of a gevent worker, where that waits. Not an `Exception`, as it is no affair
    of what the app handles; its `finally` clauses have their time.
    """


class Untranslatable(Exception):
    """A value of a setting of gunicorn's that has no equal; the message says why."""
