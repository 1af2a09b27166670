"""The loads, one row each: which app is asked for what, and over how many connections."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class Kind(Enum):
    """How a load is put on a server, and so which figures come of it."""

    WRK = "as much as wrk can ask for"
    MIX = "clients that think between two requests, some of which are slow"
    IDLE = "many connections that do nothing, and a few that do"
    MEMORY = "what several workers take that have served for a while"


@dataclass(frozen=True)
class Load:
    """What is asked of a server with `workers` workers.

    `script` is what wrk.lua does to each request. `ours_only`: of the others only the yardstick
    is. It lasts so many times as long as the command line says, in whole seconds.
    Loads of the same kind, app and number of workers share one server process.
    """

    name: str
    title: str
    app: str = "hello:app"
    kind: Kind = Kind.WRK
    connections: int = 64
    workers: int = 1
    headers: dict[str, str] = field(default_factory=dict)
    script: str = "same"
    ours_only: bool = False
    lasts: float = 1

    @property
    def home(self) -> tuple[Kind, str, int]:
        """Loads with the same one are put on the same process."""
        return self.kind, self.app, self.workers

    def duration(self, seconds: int) -> int:
        """For how many whole seconds it is put on a server."""
        return max(1, round(seconds * self.lasts))


BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-US,en;q=0.5",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Referer": "http://127.0.0.1/products/list?page=2",
    "Cookie": "sessionid=3kq1v7y0c9m2x8b4n6d5; csrftoken=Zr8WQ0a7sLx2Yp9Kc4Vt1Nf6",
    "Upgrade-Insecure-Requests": "1",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "same-origin",
}

LOADS = (
    Load("small", "keep-alive"),
    Load("headers", "keep-alive, 10 browser headers", headers=BROWSER),
    # Who keeps what it has parsed for a request that comes again gains nothing here.
    Load(
        "varying",
        "keep-alive, 10 browser headers and one more that differs in every request",
        headers=BROWSER,
        script="varying",
    ),
    Load("close", "a connection per request", headers={"Connection": "close"}),
    # The longer, the less of their CPU goes into accepting.
    *(
        Load(
            f"connections-{number}",
            f"keep-alive, {number} connections",
            connections=number,
            ours_only=True,
            lasts=2,
        )
        for number in (10, 100, 1000)
    ),
    Load("download", "a response of 1 MiB", "bodies:app", connections=16, lasts=0.5),
    Load("upload", "an upload of 1 MiB", "bodies:app", connections=16, lasts=0.5, script="upload"),
    Load("flask", "Flask, hello, 10 browser headers", "flask_hello:app", headers=BROWSER),
    Load("django", "Django, hello, 10 browser headers", "django_hello:app", headers=BROWSER),
    Load(
        "mix",
        "16 clients with keep-alive think 100 ms between requests, 5 % of which take 300 ms;"
        " 4 workers",
        "mix:app",
        Kind.MIX,
        connections=16,
        workers=4,
        lasts=4,  # it makes few requests
    ),
    Load(
        "memory",
        "memory of 4 workers that have served a Django app",
        "django_hello:app",
        Kind.MEMORY,
        workers=4,
    ),
    Load(
        "idle",
        "10 000 connections, of which 16 are busy and all others idle",
        kind=Kind.IDLE,
        connections=10_000,
        lasts=0.5,
    ),
)
