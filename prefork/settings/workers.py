"""Settings of the workers: what they are, how long they may take, and when they are replaced."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from prefork.settings import texts
from prefork.settings.app import AppSettings
from prefork.settings.option import MOST_WORKERS, Group, Option, Seconds


class WorkerSettings(AppSettings, frozen=True, kw_only=True):
    """Who runs the app."""

    workers: Annotated[
        Annotated[int, Meta(ge=1, le=MOST_WORKERS)] | Literal["auto"],
        Option(
            Group.WORKERS,
            "Worker processes: a number, or 'auto' for one per usable CPU. With "
            "$WEB_CONCURRENCY set, that is the default.",
            ("-w", "--workers"),
            metavar="N|auto",
        ),
    ] = 1
    worker_class: Annotated[
        Literal["sync", "threads", "gevent"],
        Option(
            Group.WORKERS,
            "Kind of worker. sync: one request at a time, any number of connections. threads: as "
            "many requests at a time as there are threads. gevent: a greenlet for each request, "
            "the standard library patched. sync with more than one thread is threads.",
            ("-k", "--worker-class"),
            parse=texts.kind,
        ),
    ] = "sync"
    preload: Annotated[
        bool,
        Option(
            Group.WORKERS,
            "Import the app once for each generation, in a process of its own, the mold, from "
            "which its workers are forked: they boot at once and share the memory of what was "
            "imported. A reload makes a new mold, and one that fails goes back to the old one in "
            "every slot. What the app starts or opens while it is imported must survive a fork: "
            "threads do not, and sockets are shared; the log says what there is of these.",
            ("--preload",),
        ),
    ] = False
    threads: Annotated[
        int,
        Meta(ge=1, le=1000),
        Option(Group.WORKERS, "Threads of each worker of the kind threads."),
    ] = 1
    timeout: Annotated[
        Seconds,
        Option(
            Group.WORKERS,
            "Seconds that the app may hold up a worker, 0 for any: by a request of a sync worker, "
            "or by what a gevent worker does without waiting by gevent. Then its stack is logged, "
            "and it is killed and replaced. Of a threads worker, a request may hold a thread for "
            "so long: see request_timeout. Where the app has taken the socket, as for WebSockets, "
            "neither counts, but in a sync worker.",
            ("-t", "--timeout"),
        ),
    ] = 30
    request_timeout: Annotated[
        Seconds,
        Option(
            Group.WORKERS,
            "Seconds that a request may take, 0 for any; then it is answered 504, or cut if its "
            "response has begun. gevent: prefork.RequestTimeout is raised in the app. threads: "
            "the thread is given up, and its worker replaced as soon as it can be spared. sync: "
            "the same as timeout.",
        ),
    ] = 0
    max_requests: Annotated[
        int,
        Meta(ge=0),
        Option(
            Group.WORKERS,
            "Requests after which a worker is replaced, 0 for never: the new one first. They are "
            "counted four times a second.",
        ),
    ] = 0
    max_requests_jitter: Annotated[
        int,
        Meta(ge=0),
        Option(
            Group.WORKERS,
            "At most so many requests more, by chance for each worker, so that they are not all "
            "replaced at once.",
        ),
    ] = 0
    max_memory: Annotated[
        int,
        Meta(ge=0),
        Option(
            Group.WORKERS,
            "Memory with which a worker is replaced, 0 for any: in bytes, or as 512M or 2G. It is "
            "the PSS that counts: of what workers share each has its part. Looked at every 5 "
            "seconds.",
            metavar="SIZE",
            parse=texts.size,
        ),
    ] = 0
    worker_connections: Annotated[
        int,
        Meta(ge=1),
        Option(Group.WORKERS, "Connections that one worker may hold at once."),
    ] = 1000
    limit_connections: Annotated[
        int,
        Meta(ge=0),
        Option(
            Group.LIMITS,
            "Connections that the service may have, idle ones included; 0 for half of what "
            "RLIMIT_NOFILE allows. Past it an idle one that the master holds is closed for a new "
            'one, or else the new one is answered 503. Not with dispatch = "shared".',
        ),
    ] = 0
