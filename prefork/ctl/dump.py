"""Reading a dump: what the stacks of a worker tell of the requests that it is in. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from prefork.wire.control import Stacks

_PLACE = re.compile(r'  File "(?P<file>[^"]*)", line (?P<line>\d+) in (?P<name>.*)')
_STACK = re.compile(r"(?:Current thread|Thread|Greenlet of) .*\(most recent call first\):")
_THREAD = re.compile(r"hread (0x[0-9a-f]+)")
_GREENLET = re.compile(r"Greenlet of (.*) \(most recent call first\):")
_REQUEST = re.compile(r"Request (.*) in thread (0x[0-9a-f]+)")
# What is prefork's own, and Python's: that of everybody is the same.
_OURS = re.compile(
    r".*/prefork/(worker/.*|(cli|forked|responding|wsgi|__main__)\.py)"
    r"|.*/gevent/.*|.*/bin/prefork|<frozen runpy>"
)
_THREADING = re.compile(r".*/threading\.py")


@dataclass
class Stack:
    """A thread, or a greenlet that waits: the heading, the request that it is in, if it is in one,
    and the app's part of the stack, innermost first."""

    heading: str
    request: str = ""
    places: list[str] = field(default_factory=list)

    @property
    def where(self) -> str:
        """The innermost place, in a few words."""
        found = _PLACE.match(self.places[0]) if self.places else None
        if found is None:
            return ""
        return f"{found['file'].rpartition('/')[2]}:{found['line']} in {found['name']}"


def stacks(told: Stacks) -> list[Stack]:
    """What of a dump is the app's, stack by stack; those in which there is nothing are left out."""
    found: list[Stack] = []
    for line in told.text.splitlines():
        if _STACK.match(line):
            greenlet = _GREENLET.match(line)
            found.append(Stack(line, greenlet[1] if greenlet is not None else ""))
        elif (request := _REQUEST.match(line)) is not None:
            _assign(found, request[1], request[2])
        elif found and not _is_ours(line):
            found[-1].places.append(line)
    return [stack for stack in found if stack.places or stack.request]


def _assign(found: list[Stack], request: str, thread: str) -> None:
    for stack in found:
        heading = _THREAD.search(stack.heading)
        if heading is not None and heading[1] == thread:
            stack.request = request


def _is_ours(line: str) -> bool:
    place = _PLACE.match(line)
    if place is None:
        return not line.strip()
    below = _THREADING.fullmatch(place["file"]) and place["name"].startswith(("run", "_bootstrap"))
    return bool(below or _OURS.fullmatch(place["file"]))
