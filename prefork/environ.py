"""What the environ of each request begins with: PEP 3333, and what is ours."""

from __future__ import annotations

import sys
from base64 import b64encode
from typing import IO, Any

from prefork.http.files import FileWrapper
from prefork.http.response import SERVER
from prefork.responding import Headers
from prefork.wire.identity import WorkerId
from prefork.wire.introduction import Secure
from prefork.wsgi import exchanges_on


def environ_template(
    *, scheme: str, errors: IO[str], multithread: bool, server: tuple[str, str], worker: WorkerId
) -> dict[str, Any]:
    """What the environ of each request begins with: PEP 3333, "environ Variables".

    Args:
        scheme: "http" or "https".
        errors: `wsgi.errors`.
        multithread: whether another thread of the process may call the app meanwhile.
        server: SERVER_NAME and SERVER_PORT.
        worker: who serves, which the app finds as `prefork.slot` and `prefork.generation`.
    """
    name, port = server
    return {
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.errors": errors,
        "wsgi.multithread": multithread,
        # Even a single worker runs beside its replacement for a while.
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
        "wsgi.early_hints": _early_hints,
        "wsgi.input_terminated": True,
        "SERVER_SOFTWARE": SERVER,
        "SERVER_NAME": name,
        "SERVER_PORT": port,
        "SCRIPT_NAME": "",
        "prefork.slot": worker.slot,
        "prefork.generation": worker.generation,
    }


def _early_hints(headers: Headers) -> None:
    """`wsgi.early_hints`: tell the client some fields of the response before it is made (103).

    It does nothing where no exchange has called the caller, as in a thread that the app has begun.
    """
    # The same for all requests, which so cost nothing more: whose it is tells the stack. One that
    # knew its exchange would make a cycle of each request and its environ, too.
    exchange = next(exchanges_on(sys._getframe()), None)
    if exchange is not None:
        exchange.send_early_hints(headers)


def secure_variables(secure: Secure) -> dict[str, Any]:
    """What is said of TLS, in the names of Apache's mod_ssl; what is not known is left out."""
    certificate = secure.client_certificate
    told = {
        "SSL_PROTOCOL": secure.protocol,
        "SSL_CIPHER": secure.cipher,
        "SSL_TLS_SNI": secure.server_name,
        "SSL_CLIENT_VERIFY": "SUCCESS" if secure.verified else "NONE",
        "SSL_CLIENT_S_DN_CN": secure.client_name,
        "SSL_CLIENT_CERT": _pem(certificate) if certificate else "",
    }
    # Text of PEP 3333: each character stands for a byte.
    known = {key: value.encode().decode("latin-1") for key, value in told.items() if value}
    return {"wsgi.url_scheme": "https", "HTTPS": "on", **known}


def _pem(certificate: bytes) -> str:
    """A certificate as text: RFC 7468, section 5."""
    lines = b64encode(certificate).decode()
    parts = [lines[at : at + 64] for at in range(0, len(lines), 64)]
    return "\n".join(["-----BEGIN CERTIFICATE-----", *parts, "-----END CERTIFICATE-----", ""])
