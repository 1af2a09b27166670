"""Coming from gunicorn: what its settings and flags are here, or why there is no equal. Tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from prefork.errors import Untranslatable
from prefork.gunicorn_logs import SYSLOG, dict_config, json_config

_CLASSES = {
    "sync": "sync",
    "gthread": "threads",
    "gevent": "gevent",
    "gunicorn.workers.sync.SyncWorker": "sync",
    "gunicorn.workers.gthread.ThreadWorker": "threads",
    "gunicorn.workers.ggevent.GeventWorker": "gevent",
}
_VERIFY = {0: "none", 1: "optional", 2: "required"}


def _list(value: Any) -> list[str]:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else list(value)


def _environment(pairs: Sequence[str]) -> dict[str, str]:
    split = (pair.partition("=") for pair in pairs)
    return {name: value for name, _, value in split}


def _worker_class(value: Any) -> str:
    name = value if isinstance(value, str) else f"{value.__module__}.{value.__qualname__}"
    if name not in _CLASSES:
        raise Untranslatable(f"{name}: there are sync, threads and gevent")
    return _CLASSES[name]


def _proxy_protocol(value: Any) -> bool:
    return value not in (False, "off")


def _limit(value: int) -> int:
    if value == 0:
        raise Untranslatable("there is no request without a limit")
    return value


def _verify(value: int) -> str:
    return _VERIFY[int(value)]


@dataclass(frozen=True)
class Equal:
    """What a setting is here: its name, how its value is translated, and what is to be said of it.
    `flag` is that of gunicorn, where there is none of ours that is spelled so."""

    name: str
    translate: Callable[[Any], Any] = lambda value: value
    flag: str = ""
    remark: str = ""


_OF_LOGCONFIG = "is for what the app logs: error_log and access_log say where prefork's own logs go"


# By gunicorn's names.
EQUALS = {
    "wsgi_app": Equal("app"),
    "bind": Equal("bind", _list),
    "backlog": Equal("backlog"),
    "workers": Equal("workers"),
    "worker_class": Equal("worker_class", _worker_class),
    "threads": Equal("threads"),
    "worker_connections": Equal("worker_connections"),
    "max_requests": Equal("max_requests"),
    "max_requests_jitter": Equal("max_requests_jitter"),
    "timeout": Equal("timeout"),
    "graceful_timeout": Equal("kill_timeout"),
    "keepalive": Equal("keepalive"),
    "limit_request_line": Equal("limit_request_line", _limit),
    "limit_request_fields": Equal("limit_request_fields", _limit),
    "limit_request_field_size": Equal("limit_request_field_size", _limit),
    "preload_app": Equal("preload"),
    "reload": Equal("reload"),
    "reload_engine": Equal("reload_engine"),
    "reload_extra_files": Equal("reload_extra_files", _list),
    "chdir": Equal("chdir"),
    "raw_env": Equal("env", _environment),
    "pythonpath": Equal("pythonpath", _list),
    "pidfile": Equal("pidfile"),
    "proc_name": Equal("proc_name"),
    "user": Equal("user", str),
    "group": Equal("group", str),
    "umask": Equal("umask"),
    "forwarded_allow_ips": Equal("forwarded_allow_ips", _list),
    "proxy_protocol": Equal("proxy_protocol", _proxy_protocol),
    "proxy_allow_ips": Equal("proxy_allow_ips", _list),
    "accesslog": Equal("access_log"),
    "access_log_format": Equal("access_log_format"),
    "errorlog": Equal("error_log"),
    "loglevel": Equal("log_level", str.lower),
    "logconfig_json": Equal("log", json_config, "--log-config-json", _OF_LOGCONFIG),
    "logconfig_dict": Equal("log", dict_config, remark=_OF_LOGCONFIG),
    "control_socket": Equal("control_socket"),
    "statsd_host": Equal("statsd_host"),
    "statsd_prefix": Equal("statsd_prefix"),
    "dogstatsd_tags": Equal("dogstatsd_tags"),
    "certfile": Equal("tls_certificate"),
    "keyfile": Equal("tls_key"),
    "ca_certs": Equal("tls_ca"),
    "cert_reqs": Equal("tls_verify", _verify),
    "ciphers": Equal("tls_ciphers"),
}


class Loss(Enum):
    """What it means that a setting has no equal."""

    NOTHING = "is not needed"
    BEHAVIOUR = "has no equal"


_LOSE, _KEEP = Loss.BEHAVIOUR, Loss.NOTHING
_OF_DIRTY = "there are no dirty workers: use a task queue"
_OF_ASGI = "WSGI only"
_OF_HTTP2 = "HTTP/1.1 only: a proxy in front can speak HTTP/2"
_STRICT = "RFC 9112 is followed to the letter: what it forbids is refused"

WITHOUT = {
    "daemon": (_LOSE, "it stays in the foreground: systemd or another supervisor starts it"),
    "spew": (_LOSE, "use a tracer, such as py-spy"),
    "reuse_port": (_KEEP, "one master has the sockets, and gives each connection to a worker"),
    "sendfile": (_KEEP, "files are sent by sendfile(2) where that is possible"),
    "worker_tmp_dir": (_KEEP, "workers show that they live in shared memory, not in a file"),
    "tmp_upload_dir": (_LOSE, "set TMPDIR in [env]: bodies above 1 MiB go there"),
    "initgroups": (_KEEP, "supplementary groups are always set"),
    "secure_scheme_headers": (_LOSE, "X-Forwarded-Proto and Forwarded are understood"),
    "forwarder_headers": (_LOSE, "a field with an underscore is always dropped"),
    "header_map": (_LOSE, "a field with an underscore is always dropped"),
    "root_path": (_LOSE, "set SCRIPT_NAME in the app"),
    "capture_output": (_KEEP, "what an app writes to standard error goes where prefork's does"),
    "enable_stdio_inheritance": (_KEEP, "workers have the standard streams of the master"),
    "logger_class": (
        _LOSE,
        "prefork's logs go by error_log, access_log and their formats, the app's by [log]",
    ),
    "paste": (_LOSE, "give the app as module:factory()"),
    "raw_paste_global_conf": (_LOSE, "give the app as module:factory()"),
    "protocol": (_LOSE, "HTTP only: in nginx use proxy_pass"),
    "uwsgi_allow_ips": (_LOSE, "HTTP only: in nginx use proxy_pass"),
    "ssl_version": (_LOSE, "see tls_min_version"),
    "suppress_ragged_eofs": (_KEEP, "how TLS ends is seen to"),
    "do_handshake_on_connect": (_KEEP, "a handshake never holds up a worker"),
    "http_protocols": (_LOSE, _OF_HTTP2),
    "http2_cleartext": (_LOSE, _OF_HTTP2),
    "http2_max_concurrent_streams": (_LOSE, _OF_HTTP2),
    "http2_initial_window_size": (_LOSE, _OF_HTTP2),
    "http2_max_frame_size": (_LOSE, _OF_HTTP2),
    "http2_max_header_list_size": (_LOSE, _OF_HTTP2),
    "permit_obsolete_folding": (_LOSE, _STRICT),
    "strip_header_spaces": (_LOSE, _STRICT),
    "permit_unconventional_http_method": (_LOSE, _STRICT),
    "permit_unconventional_http_version": (_LOSE, _STRICT),
    "casefold_http_method": (_LOSE, _STRICT),
    "http_parser": (_KEEP, "httptools parses, always"),
    "asgi_loop": (_LOSE, _OF_ASGI),
    "asgi_lifespan": (_LOSE, _OF_ASGI),
    "asgi_disconnect_grace_period": (_LOSE, _OF_ASGI),
    "websocket_max_message_size": (_LOSE, _OF_ASGI),
    "dirty_apps": (_LOSE, _OF_DIRTY),
    "dirty_workers": (_LOSE, _OF_DIRTY),
    "dirty_timeout": (_LOSE, _OF_DIRTY),
    "dirty_threads": (_LOSE, _OF_DIRTY),
    "dirty_graceful_timeout": (_LOSE, _OF_DIRTY),
    "on_dirty_starting": (_LOSE, _OF_DIRTY),
    "dirty_post_fork": (_LOSE, _OF_DIRTY),
    "dirty_worker_init": (_LOSE, _OF_DIRTY),
    "dirty_worker_exit": (_LOSE, _OF_DIRTY),
    "logconfig": (_LOSE, "make a dictConfig of it, which a table [log] is, of what the app logs"),
    "enable_backlog_metric": (_LOSE, "see prefork_backlog_connections at metrics_bind"),
    "control_socket_mode": (_KEEP, "it is always its owner's alone"),
    "control_socket_disable": (_LOSE, 'set control_socket = "off"'),
    # Of another file, of what is said here already, or of gunicorn's own.
    "config": (_KEEP, "-c names a TOML file"),
    "check_config": (_KEEP, "it is a flag: --check-config"),
    "print_config": (_KEEP, "it is a flag: --print-config"),
    "default_proc_name": (_KEEP, "the app's name is the default"),
}

# Values without which nothing is lost: they ask for what is there anyway.
NEEDLESS = {"logger_class": ("gunicorn.glogging.Logger", "gunicorn.instrument.statsd.Statsd")}

# Its flags that are none here, by the settings that they are of.
_NO_FLAGS = {
    "config", "check_config", "print_config", "default_proc_name", "tmp_upload_dir",
    "secure_scheme_headers", "on_dirty_starting", "dirty_post_fork", "dirty_worker_init",
    "dirty_worker_exit",
}  # fmt: skip
_SPELLED = {
    "daemon": ("-D", "--daemon"),
    "sendfile": ("--no-sendfile",),
    "enable_stdio_inheritance": ("-R", "--enable-stdio-inheritance"),
    "paste": ("--paste", "--paster"),
    "raw_paste_global_conf": ("--paste-global",),
    "uwsgi_allow_ips": ("--uwsgi-allow-from",),
    "dirty_apps": ("--dirty-app",),
    "control_socket_disable": ("--no-control-socket",),
    "logconfig": ("--log-config",),
}
_SWITCHES = {
    "daemon", "spew", "reuse_port", "sendfile", "initgroups", "capture_output",
    "enable_stdio_inheritance", "suppress_ragged_eofs", "do_handshake_on_connect",
    "http2_cleartext", "permit_obsolete_folding", "strip_header_spaces",
    "permit_unconventional_http_method", "permit_unconventional_http_version",
    "casefold_http_method", "control_socket_disable", "enable_backlog_metric", "syslog",
    "disable_redirect_access_to_syslog",
}  # fmt: skip


@dataclass(frozen=True)
class Flag:
    """A flag of gunicorn's that is none here: how it is spelled, whether a value follows it, what
    is lost without it, and why; with a value of `needless` nothing is."""

    spelled: tuple[str, ...]
    valued: bool
    loss: Loss
    why: str
    needless: tuple[str, ...] = ()


FLAGS = [
    Flag(
        _SPELLED.get(name, ("--" + name.replace("_", "-"),)),
        name not in _SWITCHES,
        *WITHOUT[name],
        NEEDLESS.get(name, ()),
    )
    for name in WITHOUT
    if name not in _NO_FLAGS
]


@dataclass(frozen=True)
class Translated:
    """A flag of gunicorn's that is translated: the setting, and whether a value follows it."""

    name: str
    flag: str
    valued: bool


TRANSLATED = [
    Translated(name, flag, name not in _SWITCHES)
    for name, flag in (SYSLOG | {name: equal.flag for name, equal in EQUALS.items()}).items()
    if flag
]
