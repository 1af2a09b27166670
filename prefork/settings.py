"""The settings table: the only place where a setting is declared.

One field is one setting. Its name is the TOML key, its type and `Meta` say what is valid, its
`Option` how it is spelled on the command line and what it does. The flags, the environment
variables, `--help`, the man pages and the sample configuration all come from here.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal, get_args, get_type_hints

import msgspec
from msgspec import Meta, field


class Group(Enum):
    """The headings under which settings are listed."""

    APP = "Application"
    LISTEN = "Listening"
    WORKERS = "Workers"
    RELOAD = "Reloading and stopping"
    CLIENTS = "Clients"
    TLS = "TLS"
    LIMITS = "Limits on requests"
    PROCESS = "Process"
    LOG = "Logging"
    METRICS = "Metrics"


@dataclass(frozen=True)
class Option:
    """How a setting is spelled and explained outside of TOML.

    `flags` are the flags, by default `--name-of-it`; `alias` is another name for the key;
    `parse` turns a string into the value where the type alone does not say how. What is `fixed` is
    bound, opened or written once: a reload can't change it.
    """

    group: Group
    help: str
    flags: tuple[str, ...] = ()
    metavar: str = ""
    alias: str = ""
    parse: Callable[[str], object] | None = None
    fixed: bool = False


# As gunicorn calls them.
_KINDS = {"gthread": "threads"}


def _kind(text: str) -> str:
    return _KINDS.get(text, text)


# As the module ssl numbers them, and gunicorn.
_VERIFY = {"0": "none", "1": "optional", "2": "required"}


def _verify(text: str) -> str:
    return _VERIFY.get(text, text)


def _octal(text: str) -> int:
    try:
        return int(text, 8)
    except ValueError:
        raise ValueError("expected an octal number, such as 022") from None


_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def _size(text: str) -> int:
    number, unit = text[:-1], text[-1:].upper()
    if text.isdecimal():
        number, unit = text, ""
    if not (number.isascii() and number.isdecimal() and unit in _UNITS):
        raise ValueError("expected a number of bytes, such as 512M or 2G")
    return int(number) * _UNITS[unit]


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        raise ValueError("expected JSON") from None


def _path(text: str) -> str:
    if text and not (text.startswith("/") and text.isascii() and text.isprintable()):
        raise ValueError("expected a path that begins with /")
    if " " in text:
        raise ValueError("a path has no spaces: write %20")
    return text


# At most a year: "endless" is a number that somebody has thought about.
_YEAR = 365 * 86400
Seconds = Annotated[float, Meta(ge=0, le=_YEAR)]
Timeout = Annotated[float, Meta(gt=0, le=_YEAR)]

# The board has rows for twice as many, and more: each may have a replacement beside it.
MOST_WORKERS = 400

ACCESS_LOG_FORMAT = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of one generation, valid and complete."""

    app: Annotated[
        str,
        Option(
            Group.APP,
            "The WSGI app: module:attr (attr is 'application' or 'app' if left out), or "
            "module:factory() to call a factory.",
            metavar="APP",
        ),
    ] = ""
    chdir: Annotated[
        str,
        Option(
            Group.APP,
            "Directory that each new worker changes to, and that comes first on its module "
            "path. A symbolic link is followed anew by each worker, so a reload may move to "
            "another release. Default: where prefork was started.",
            metavar="DIR",
        ),
    ] = ""
    pythonpath: Annotated[
        list[str],
        Option(Group.APP, "Directories to put on the module path.", metavar="DIR,..."),
    ] = field(default_factory=list)
    env: Annotated[
        dict[str, str],
        Option(
            Group.APP,
            "Environment variables for the app; repeatable on the command line, a table in TOML.",
            ("-e", "--env"),
            metavar="KEY=VALUE",
        ),
    ] = field(default_factory=dict)

    hooks: Annotated[
        dict[str, str],
        Option(
            Group.APP,
            "Functions to call at certain moments, each as module:function or file.py:function; "
            "a table in TOML. The names and arguments are gunicorn's: see HOOKS in "
            "prefork.toml(5).",
            ("--hook",),
            metavar="NAME=FUNCTION",
        ),
    ] = field(default_factory=dict)

    bind: Annotated[
        list[str],
        Meta(min_length=1),
        Option(
            Group.LISTEN,
            "Addresses to listen on: host:port, [ipv6]:port, unix:path, fd://N for an inherited "
            "socket, or fd://NAME for those that systemd passes by that name. Repeatable. The "
            "default is all sockets that systemd passes, or with $PORT set 0.0.0.0:$PORT. With a "
            "TLS certificate all but unix sockets speak TLS, except http://host:port.",
            ("-b", "--bind"),
            metavar="ADDRESS",
            fixed=True,
        ),
    ] = field(default_factory=lambda: ["127.0.0.1:8000"])
    proxy_protocol: Annotated[
        bool,
        Option(
            Group.LISTEN,
            "Each connection begins with the PROXY protocol, version 1 or 2, in which the proxy in "
            "front says who the client is, and what it knows of its TLS.",
            ("--proxy-protocol",),
            fixed=True,
        ),
    ] = False
    proxy_allow_ips: Annotated[
        list[str],
        Option(
            Group.LISTEN,
            "Proxies that may connect if proxy_protocol is set: addresses, networks, or * for "
            "any. Those at unix sockets always may.",
            ("--proxy-allow-from",),
            metavar="NETWORK,...",
            fixed=True,
        ),
    ] = field(default_factory=lambda: ["127.0.0.1", "::1"])
    forwarded_allow_ips: Annotated[
        list[str],
        Option(
            Group.LISTEN,
            "Proxies that are believed what they say of clients in Forwarded, X-Forwarded-For, "
            "X-Forwarded-Proto and X-Forwarded-Host: addresses, networks, or * for any. Those at "
            "unix sockets always are. REMOTE_ADDR, wsgi.url_scheme and HTTP_HOST then are the "
            "client's. With $FORWARDED_ALLOW_IPS set, that is the default.",
            metavar="NETWORK,...",
        ),
    ] = field(default_factory=lambda: ["127.0.0.1", "::1"])
    backlog: Annotated[
        int,
        Meta(ge=1),
        Option(
            Group.LISTEN,
            "Connections that the kernel may hold before they are accepted.",
            fixed=True,
        ),
    ] = 2048
    dispatch: Annotated[
        Literal["round-robin", "shared"],
        Option(
            Group.LISTEN,
            "Who accepts connections. round-robin: the master does, and lends each to a worker in "
            "turn; they survive their worker, and none waits behind a long request while another "
            "worker has room. shared: the workers do, whoever comes first, for the highest rates "
            "of new connections; these stay with their worker.",
            fixed=True,
        ),
    ] = "round-robin"
    umask: Annotated[
        Annotated[int, Meta(ge=0, le=511)] | None,
        Option(
            Group.LISTEN,
            "File mode mask, in octal, for unix sockets and for what the workers create. "
            "Default: that of the calling shell.",
            ("-m", "--umask"),
            metavar="OCTAL",
            parse=_octal,
        ),
    ] = None

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
            parse=_kind,
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
            parse=_size,
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
            parse=_path,
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

    keepalive: Annotated[
        Seconds,
        Option(
            Group.CLIENTS,
            "Seconds that an idle connection is kept; 0 turns keep-alive off. Longer than "
            "proxies keep theirs, so that it is they who close.",
            ("--keep-alive",),
        ),
    ] = 75
    header_timeout: Annotated[
        Timeout,
        Option(Group.CLIENTS, "Seconds that the head of a request may take to arrive."),
    ] = 10
    body_timeout: Annotated[
        Timeout,
        Option(Group.CLIENTS, "Seconds between two parts of the body of a request."),
    ] = 30
    send_timeout: Annotated[
        Timeout,
        Option(Group.CLIENTS, "Seconds that a client may take nothing of its response."),
    ] = 30
    client_rate: Annotated[
        int,
        Meta(ge=0, le=1 << 30),
        Option(
            Group.CLIENTS,
            "Bytes per second that a client has to send of a body, or to take of a response that "
            "waits for it, on average over each body_timeout or send_timeout; 0 for any. Only the "
            "time counts in which the app does not make it wait.",
        ),
    ] = 100

    tls_certificate: Annotated[
        str,
        Option(
            Group.TLS,
            "PEM file with the certificate and those that lead to its authority, and the key if "
            "tls_key does not name one. With it, TLS is spoken, by a process of its own that alone "
            "has the key; the connections survive workers and reloads as others do. A reload reads "
            "it again, and is refused if it can't be used. Relative to where prefork was started.",
            ("--certfile",),
            metavar="FILE",
        ),
    ] = ""
    tls_key: Annotated[
        str,
        Option(
            Group.TLS, "PEM file with the key of the certificate.", ("--keyfile",), metavar="FILE"
        ),
    ] = ""
    tls_hosts: Annotated[
        dict[str, str],
        Option(
            Group.TLS,
            "Certificates for clients that ask for other names (SNI), each as CERTIFICATE or "
            "CERTIFICATE:KEY; '*.' may stand for the first label of a name.",
            metavar="NAME=CERTIFICATE:KEY",
        ),
    ] = field(default_factory=dict)
    tls_ca: Annotated[
        str,
        Option(
            Group.TLS,
            "PEM file, or directory, of the authorities that the certificates of clients have to "
            "come from.",
            ("--ca-certs",),
            metavar="FILE",
        ),
    ] = ""
    tls_verify: Annotated[
        Literal["none", "optional", "required"],
        Option(
            Group.TLS,
            "Whether clients are asked for a certificate, and whether they have to have one. The "
            "app finds it in the environ, as SSL_CLIENT_CERT.",
            ("--tls-verify", "--cert-reqs"),
            parse=_verify,
        ),
    ] = "none"
    tls_min_version: Annotated[
        Literal["TLSv1.2", "TLSv1.3"],
        Option(Group.TLS, "The oldest version of TLS that is spoken."),
    ] = "TLSv1.2"
    tls_ciphers: Annotated[
        str,
        Option(
            Group.TLS,
            "Ciphers for TLS 1.2, in OpenSSL's format. Default: OpenSSL's, as Python sets them.",
            ("--ciphers",),
            metavar="LIST",
        ),
    ] = ""
    tls_processes: Annotated[
        int,
        Meta(ge=1, le=MOST_WORKERS),
        Option(
            Group.TLS,
            "Processes that speak TLS: more than one where there is more to encrypt than one CPU "
            "can.",
        ),
    ] = 1

    limit_request_line: Annotated[
        int,
        Meta(ge=64, le=1 << 20),
        Option(Group.LIMITS, "Bytes of a request's target; past it the answer is 414."),
    ] = 8190
    limit_request_fields: Annotated[
        int,
        Meta(ge=1, le=32768),
        Option(Group.LIMITS, "Header fields of a request; past it the answer is 431."),
    ] = 100
    limit_request_field_size: Annotated[
        int,
        Meta(ge=64, le=1 << 20),
        Option(
            Group.LIMITS,
            "Bytes of one header field; past it the answer is 431.",
            ("--limit-request-field-size", "--limit-request-field_size"),
        ),
    ] = 8190
    limit_request_body: Annotated[
        int,
        Meta(ge=0),
        Option(Group.LIMITS, "Bytes of a request's body, 0 for any; past it the answer is 413."),
    ] = 0

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
        Option(Group.LOG, "Least severity that is logged."),
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
            parse=_json,
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


@dataclass(frozen=True)
class Setting:
    """A row of the table, as the code that reads the table sees it."""

    name: str
    type: Any
    default: Any
    option: Option

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags of the command line; the last one is shown in messages."""
        return self.option.flags or ("--" + self.name.replace("_", "-"),)

    @property
    def variable(self) -> str:
        """The environment variable."""
        return "PREFORK_" + self.name.upper()

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that it may be, or nothing where it is no such setting."""
        bare = get_args(self.type)[0]
        return get_args(bare) if getattr(bare, "__origin__", None) is Literal else ()


def _table() -> dict[str, Setting]:
    hints = get_type_hints(Settings, include_extras=True)
    defaults = Settings()
    rows = {}
    for name, hint in hints.items():
        (option,) = (note for note in hint.__metadata__ if isinstance(note, Option))
        rows[name] = Setting(name, hint, getattr(defaults, name), option)
    return rows


TABLE = _table()


def _started_in() -> str:
    """The shell's `$PWD` keeps the symbolic links that `getcwd()` has resolved."""
    logical = os.environ.get("PWD", "")
    if os.path.isabs(logical) and os.path.isdir(logical) and os.path.samefile(logical, "."):
        return logical
    return os.getcwd()


# Asked once: if a link in it is moved to another release, it is no longer where we are.
STARTED_IN = _started_in()


def worker_count(settings: Settings, usable_cpus: Callable[[], int]) -> int:
    """The number of slots that `workers` asks for."""
    return min(usable_cpus(), MOST_WORKERS) if settings.workers == "auto" else settings.workers


def worker_kind(settings: Settings) -> str:
    """The kind of worker: several threads can only be meant for `threads`."""
    several = settings.worker_class == "sync" and settings.threads > 1
    return "threads" if several else settings.worker_class


def standstill_timeout(settings: Settings) -> float:
    """Seconds that the loop of a worker may stand still, math.inf for any. That of a sync worker
    does in each request."""
    limits = [settings.timeout]
    if worker_kind(settings) == "sync":
        limits.append(settings.request_timeout)
    return _least(limits)


def request_timeout(settings: Settings) -> float:
    """Seconds that a request may take beside the loop, math.inf for any."""
    limits = [settings.request_timeout]
    if worker_kind(settings) == "threads":
        limits.append(settings.timeout)
    return _least(limits)


def _least(limits: list[float]) -> float:
    return min((limit for limit in limits if limit), default=math.inf)


def idle_timeout(settings: Settings) -> float:
    """Seconds that a connection may be idle; without keep-alive, before its only request."""
    return settings.keepalive or settings.header_timeout


def home(settings: Settings) -> str:
    """The directory that workers change to, by the path that the operator knows it by."""
    return os.path.join(STARTED_IN, settings.chdir) if settings.chdir else STARTED_IN
