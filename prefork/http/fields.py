"""The parts of a request's head as CGI meta-variables (RFC 3875, section 4.1), and what is wrong
with them."""

from __future__ import annotations

import re
from http import HTTPStatus

from prefork.errors import HTTPError

# A field whose name holds an underscore is dropped: as a meta-variable it could not be told
# from the one with a dash, and could so stand in for one that a proxy vouches for.
DROPPED = "prefork.dropped"

# Field names as they were spelled, to meta-variables: filled as they are met, up to a bound
# that clients can't make grow.
KEYS: dict[bytes, str] = {}
_KEYS_BOUND = 1000
_KEY_LENGTH_BOUND = 64

# Values of Host that are valid, up to as many.
HOSTS: set[str] = set()
_HOSTS_BOUND = 1000
# RFC 3986, sections 3.2.2 and 3.2.3: a name, an IPv4 address or a literal, and a port. No user.
_HOST = re.compile(
    r"(?:\[[0-9A-Fa-f:.]+\]|\[v[0-9A-Fa-f]+\.[\w.~!$&'()*+,;=:-]+\]"
    r"|(?:[\w.~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?",
    re.ASCII,
)


def key(name: bytes) -> str:
    """The meta-variable of a field that is not in `KEYS`."""
    text = name.decode("latin-1")
    if "_" in text:
        return DROPPED
    variable = text.upper().replace("-", "_")
    if variable not in ("CONTENT_LENGTH", "CONTENT_TYPE"):
        variable = "HTTP_" + variable
    if len(KEYS) < _KEYS_BOUND and len(name) <= _KEY_LENGTH_BOUND:
        KEYS[name] = variable
    return variable


def check_host(host: str) -> None:
    """Refuse an invalid value of Host: RFC 9112, section 3.2.

    Raises:
        HTTPError: 400.
    """
    if _HOST.fullmatch(host) is None:
        raise HTTPError(HTTPStatus.BAD_REQUEST, "not a host")
    if len(HOSTS) < _HOSTS_BOUND and len(host) <= _KEY_LENGTH_BOUND:
        HOSTS.add(host)


def split_target(method: str, target: str) -> tuple[str, str | None]:
    """A request target that is no path, as a path with a query and the authority, if it has one:
    RFC 9112, sections 3.2.2 to 3.2.4.

    Raises:
        HTTPError: 400.
    """
    if target == "*" and method == "OPTIONS":
        return target, None
    scheme, separator, rest = target.partition("://")
    if not separator or scheme.lower() not in ("http", "https"):
        raise HTTPError(HTTPStatus.BAD_REQUEST, "the request target is no path and no http URI")
    end = next((at for at, character in enumerate(rest) if character in "/?"), len(rest))
    authority, path = rest[:end], rest[end:]
    if not authority:
        raise HTTPError(HTTPStatus.BAD_REQUEST, "the request target has no host")
    check_host(authority)
    return (path if path.startswith("/") else "/" + path), authority


def check_coding(coding: str) -> None:
    """Refuse what is not plainly `chunked`, as the end of the body could not be found: RFC 9112,
    sections 6.1 and 6.3.

    Raises:
        HTTPError: 400 or 501.
    """
    codings = [each.strip().lower() for each in coding.split(",")]
    if codings[-1] != "chunked":
        raise HTTPError(HTTPStatus.BAD_REQUEST, "the last transfer coding is not chunked")
    if len(codings) > 1:
        raise HTTPError(HTTPStatus.NOT_IMPLEMENTED, "no transfer coding but chunked is known")


def too_large() -> HTTPError:
    """RFC 6585, section 5."""
    return HTTPError(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the header fields are too many or too large"
    )
