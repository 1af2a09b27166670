"""The parts of a request's head as CGI meta-variables (RFC 3875, section 4.1), and what is wrong
with them."""

from __future__ import annotations

from http import HTTPStatus
from typing import NoReturn

from prefork.errors import HTTPError

# A field whose name holds an underscore is dropped: as a meta-variable it could not be told
# from the one with a dash, and could so stand in for one that a proxy vouches for.
DROPPED = "prefork.dropped"

PROTOCOLS = {"1.1": "HTTP/1.1", "1.0": "HTTP/1.0"}
METHODS = {
    name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
}

# Field names as they were spelled, to meta-variables: filled as they are met, up to a bound
# that clients can't make grow.
KEYS: dict[bytes, str] = {}
_KEYS_BOUND = 1000
_KEY_LENGTH_BOUND = 64


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


def split_target(target: str) -> tuple[str, str | None]:
    """A request target that is no path, as a path with a query and the authority, if it has one:
    RFC 9112, sections 3.2.2 to 3.2.4.

    Raises:
        HTTPError: 400.
    """
    if target == "*":
        return target, None
    scheme, separator, rest = target.partition("://")
    if not separator or scheme.lower() not in ("http", "https"):
        raise HTTPError(HTTPStatus.BAD_REQUEST, "the request target is no path and no http URI")
    end = next((at for at, character in enumerate(rest) if character in "/?"), len(rest))
    authority, path = rest[:end], rest[end:]
    if not authority:
        raise HTTPError(HTTPStatus.BAD_REQUEST, "the request target has no host")
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


def refuse_version(version: str) -> NoReturn:
    """RFC 9110, section 15.6.6."""
    raise HTTPError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, f"HTTP/{version} is not spoken here")


def too_large() -> HTTPError:
    """RFC 6585, section 5."""
    return HTTPError(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the header fields are too many or too large"
    )
