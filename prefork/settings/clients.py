"""Settings of what clients may do: how long, how much, and by which TLS."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from prefork.settings import texts
from prefork.settings.option import MOST_WORKERS, Group, Option, Seconds, Timeout
from prefork.settings.reloading import ReloadSettings


class ClientSettings(ReloadSettings, frozen=True, kw_only=True):
    """What clients get."""

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
            parse=texts.verify,
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
