"""fork(2), as the master does it for each of its children."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from prefork import signals
from prefork.wire import channel
from prefork.wire.assignment import Forked, Task


def fork(
    ours: socket.socket | None,
    disown: Callable[[], None],
    assignment: Callable[[], Task],
) -> int:
    """Fork a child.

    Args:
        ours: the master's end of the channel, if there is one, which is closed in the child.
        disown: closes in the child what only the master may have.
        assignment: makes, in the child, what it is to be.

    Returns:
        The child's pid, in the master.

    Raises:
        OSError: there can't be another process.
        Forked: in the child, where this does not return.
    """
    with signals.blocked():
        pid = os.fork()
        if pid == 0:
            try:
                signals.quiet_in_child()
                if ours is not None:
                    ours.close()
                disown()
            except Exception:  # noqa: BLE001  or there would be a second master
                os._exit(1)
            raise Forked(assignment())
    return pid


def fork_with_channel(
    disown: Callable[[], None], assignment: Callable[[socket.socket], Task]
) -> tuple[int, socket.socket]:
    """Fork a child at the other end of a channel.

    Args:
        disown: closes in the child what only the master may have.
        assignment: makes, in the child, what it is to be, with its end of the channel.

    Returns:
        The child's pid and the master's end, in the master.

    Raises:
        OSError, Forked: as above.
    """
    ours, theirs = channel.pair()
    try:
        pid = fork(ours, disown, lambda: assignment(socket.socket(fileno=theirs.detach())))
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    return pid, ours
