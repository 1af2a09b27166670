"""Settings of the app, and of where its clients come in."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from prefork.settings import texts
from prefork.settings.option import Group, Option


class AppSettings(Struct, frozen=True, kw_only=True):
    """What is served, and at which addresses."""

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
            parse=texts.octal,
        ),
    ] = None
