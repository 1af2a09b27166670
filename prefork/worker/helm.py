"""The helm of a loop: whoever has it stands for the loop, and may touch connections and watchers.

To wake a thread, and to be woken by it, is dear, for the kernel and for the interpreter's lock:
more than a small request. So while the app is quick, the loop lends a thread its helm for the
rest of a turn: this one reads, runs and answers one request after the other, in the loop's stead,
while the loop waits. The app runs without the helm. A request that takes longer costs no more than
that wait: the loop takes the helm back, and has other threads do what is left.
"""

from __future__ import annotations

import threading

# The loop waits for so many seconds for the thread at the helm to begin another request.
_PATIENCE = 0.002


class Helm:
    """The helm of a loop, whose own thread has it at first.

    `deputy` is the thread to which it is lent, by what wakes it; `failure` is what has failed
    there; `let_go` is what it calls before the app.
    """

    def __init__(self) -> None:
        self.deputy: threading.Lock | None = None
        self.failure: Exception | None = None
        # Held by whoever has the helm.
        self._lock = threading.Lock()
        self._lock.acquire()
        self.let_go = self._lock.release
        # Rung when the thread gives it back.
        self._bell = threading.Lock()
        self._bell.acquire()

    def take(self, me: threading.Lock) -> bool:
        """In the thread: have the helm again, if it is still lent to this one."""
        if not self._lock.acquire(False):
            return False
        if self.deputy is not me:
            self._lock.release()
            return False
        return True

    def give_back(self) -> None:
        """In the thread: there is nothing left to do, or something has failed."""
        self.deputy = None
        self._bell.release()
        self._lock.release()

    def lend(self, thread: threading.Lock, counters: memoryview) -> bool:
        """In the loop: have a thread stand in for it, until that is done, or in a request for too
        long.

        Args:
            thread: by what wakes it.
            counters: in which it counts the requests that it begins.

        Returns:
            Whether it was done.
        """
        self.deputy = thread
        self._lock.release()
        thread.release()
        begun = -1
        while not (rung := self._bell.acquire(timeout=_PATIENCE)) and begun != counters[0]:
            begun = counters[0]
        self._lock.acquire()
        if self.deputy is not None:
            self.deputy = None
            return False
        if not rung:
            self._bell.acquire()  # it was rung just now
        return True

    def check(self) -> None:
        """In the loop: raise what has failed in the thread."""
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
