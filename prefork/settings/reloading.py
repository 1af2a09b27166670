"""Settings of reloads, and of the stop."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import field

from prefork.settings import texts
from prefork.settings.option import Group, Option, Seconds, Timeout
from prefork.settings.workers import WorkerSettings


class ReloadSettings(WorkerSettings, frozen=True, kw_only=True):
    """How workers begin, and end."""

    wait_ready: Annotated[
        bool,
        Option(
            Group.RELOAD,
            "A new worker is ready when the app calls prefork.ready(), not when it is imported.",
        ),
    ] = False
    ready_path: Annotated[
        str,
        Option(
            Group.RELOAD,
            "Path, such as /healthz, that a new worker asks its own app for before it is used; "
            "with wait_ready, after the app has said that it is ready. It has to answer with a "
            "status below 400. The request comes from 127.0.0.1 for the host localhost, with "
            "prefork.probe in the environ, and is not in the access log. See also drain_delay.",
            metavar="PATH",
            parse=texts.url_path,
        ),
    ] = ""
    listen_timeout: Annotated[
        Timeout,
        Option(Group.RELOAD, "Seconds that a new worker may take to become ready."),
    ] = 30
    kill_timeout: Annotated[
        Seconds,
        Option(
            Group.RELOAD,
            "Seconds that a retiring worker may take to finish its requests, before its stack "
            "is logged and it is killed.",
            ("--kill-timeout", "--graceful-timeout"),
            alias="graceful_timeout",
        ),
    ] = 30

    reload_bake: Annotated[
        Seconds,
        Option(
            Group.RELOAD,
            "Seconds that each new worker of a reload serves beside the old one before it replaces "
            "it, and the next slot is begun. If it dies meanwhile the reload is aborted.",
        ),
    ] = 0
    reload: Annotated[
        bool,
        Option(
            Group.RELOAD,
            "For development: reload when a Python file below chdir or pythonpath changes, and "
            "show why an app can't be imported in its place, in the browser too, until it can. "
            "Needs watchfiles: pip install 'prefork[dev]'.",
            ("--reload",),
        ),
    ] = False
    reload_extra_files: Annotated[
        list[str],
        Option(
            Group.RELOAD,
            "Files of any kind that reload looks at as well; repeatable.",
            ("--reload-extra-file",),
            metavar="FILE,...",
        ),
    ] = field(default_factory=list)
    reload_engine: Annotated[
        Literal["auto", "inotify", "poll"],
        Option(
            Group.RELOAD,
            "How reload watches. auto and inotify: the kernel tells of changes. poll: by looking, "
            "for file systems that tell nothing, such as those of the network.",
        ),
    ] = "auto"
    drain_delay: Annotated[
        Seconds,
        Option(
            Group.RELOAD,
            "Seconds that the service goes on as before after SIGTERM, but for requests for "
            "ready_path, which are answered 503: for load balancers, which need a while to send "
            "their requests elsewhere. A second SIGTERM ends it. What kills the service after a "
            "time has to wait for longer than drain_delay + kill_timeout.",
        ),
    ] = 0
