"""Settings of the service as seen from outside: its processes, its logs, its metrics."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, field

from prefork.settings import texts
from prefork.settings.clients import ClientSettings
from prefork.settings.option import Group, Option

ACCESS_LOG_FORMAT = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'


class ProcessSettings(ClientSettings, frozen=True, kw_only=True):
    """What operators see of it."""

    user: Annotated[
        str,
        Option(Group.PROCESS, "User, by name or id, that the workers run as.", ("-u", "--user")),
    ] = ""
    group: Annotated[
        str,
        Option(Group.PROCESS, "Group, by name or id, that the workers run as.", ("-g", "--group")),
    ] = ""
    pidfile: Annotated[
        str,
        Option(
            Group.PROCESS, "File to write the master's pid to.", ("-p", "--pid"), "FILE", fixed=True
        ),
    ] = ""
    proc_name: Annotated[
        str,
        Option(
            Group.PROCESS,
            "Name to show in process titles instead of the app's.",
            ("-n", "--name"),
            metavar="NAME",
        ),
    ] = ""

    control_socket: Annotated[
        str,
        Meta(min_length=1),
        Option(
            Group.PROCESS,
            "Where preforkctl(1) finds the master: the path of a unix socket that is its user's "
            "alone; 'auto' for PID.sock in $XDG_RUNTIME_DIR/prefork or, without that, in "
            "/tmp/prefork-UID; or 'off'.",
            metavar="PATH",
            fixed=True,
        ),
    ] = "auto"

    access_log: Annotated[
        str,
        Option(
            Group.LOG,
            "File for the access log, '-' for standard output, or syslog as in error_log. Default: "
            "none.",
            ("--access-logfile",),
            metavar="FILE",
            fixed=True,
        ),
    ] = ""
    access_log_format: Annotated[
        str,
        Option(
            Group.LOG,
            "Format of the access log, in gunicorn's atoms; or json, for an object on a line.",
            ("--access-logformat",),
            metavar="FORMAT",
        ),
    ] = ACCESS_LOG_FORMAT
    request_id: Annotated[
        bool,
        Option(
            Group.LOG,
            "Give each request an id: the app finds it as prefork.request_id in its environ, the "
            "access log as %({prefork.request_id}e)s, and what is logged about the request says "
            "it. A format of the access log that has it, as json does, is enough.",
        ),
    ] = False
    request_id_header: Annotated[
        str,
        Meta(pattern=r"^[A-Za-z0-9-]*\Z"),
        Option(
            Group.LOG,
            "Header field in which the proxies of forwarded_allow_ips say a request's id: at most "
            "128 letters, digits and ._:/+=@-, or else a new one is made. Empty: always.",
            metavar="NAME",
        ),
    ] = "X-Request-ID"
    error_log: Annotated[
        str,
        Option(
            Group.LOG,
            "File for everything else, '-' for standard error; or a syslog daemon: syslog: for "
            "/dev/log, syslog+unix:///PATH or syslog+udp://HOST:PORT, with ?facility=NAME&tag=NAME "
            "behind it for others than user and prefork.",
            ("--error-logfile", "--log-file"),
            metavar="FILE",
            fixed=True,
        ),
    ] = "-"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error", "critical"],
        Option(Group.LOG, "Least severity that is logged.", parse=str.lower),
    ] = "info"
    log_format: Annotated[
        Literal["text", "json"],
        Option(
            Group.LOG,
            "Form of the error log: lines of text, or a JSON object on a line for each record. At "
            "the journal ($JOURNAL_STREAM) lines begin with their priority. What the app writes to "
            "wsgi.errors stays as it is.",
        ),
    ] = "text"
    log: Annotated[
        dict[str, Any],
        Option(
            Group.LOG,
            "How the app's own logging is configured, before it is imported: as "
            "logging.config.dictConfig of Python's standard library has it; JSON on the command "
            "line, a table in TOML. See LOG in prefork.toml(5).",
            metavar="JSON",
            parse=texts.json_value,
        ),
    ] = field(default_factory=dict)

    metrics_bind: Annotated[
        str,
        Option(
            Group.METRICS,
            "Address, as for bind, at which a process of its own serves /metrics for Prometheus, "
            "/live and /ready. Needs prefork[metrics]. Default: none.",
            metavar="ADDRESS",
            fixed=True,
        ),
    ] = ""
    statsd_host: Annotated[
        str,
        Option(
            Group.METRICS,
            "Where StatsD listens, HOST:PORT or unix://PATH: it gets gunicorn's metrics, in "
            "datagrams. Default: nowhere.",
            metavar="ADDRESS",
            fixed=True,
        ),
    ] = ""
    statsd_prefix: Annotated[
        str,
        Option(
            Group.METRICS,
            "What each name told to StatsD begins with, before a dot. Default: nothing.",
            metavar="PREFIX",
            fixed=True,
        ),
    ] = ""
    dogstatsd_tags: Annotated[
        str,
        Option(
            Group.METRICS,
            "Tags that go with all that is told to StatsD, in DogStatsD's way. Default: none.",
            metavar="KEY:VALUE,...",
            fixed=True,
        ),
    ] = ""
