"""The request line: RFC 9112, section 3.

It is read here and not by llhttp, which knows only some methods, takes RTSP for HTTP, and does not
tell one space from two.
"""

from __future__ import annotations

import re
from http import HTTPStatus

from prefork.errors import HTTPError

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_LINE = re.compile(rb"(%b{1,64}) ([!-~]+) HTTP/([0-9])\.([0-9])" % _TOKEN)
# What may become such a line.
_BEGINNING = re.compile(rb"%b{1,64}(?: (?:[!-~]+(?: [HTP/0-9.]{0,8}\r?)?)?)?" % _TOKEN)
# Those that llhttp is given as they are; to it, all others look like POST.
_METHODS = {
    name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
}
_LONGEST_METHOD = 64


# The method, the target as it came, whether it is HTTP/1.1, and the line in a form that llhttp
# takes for a request with the same framing; None if that is how it came.
RequestLine = tuple[str, str, bool, bytes | None]


def read(line: bytes, longest: int) -> RequestLine:
    """Take a request line apart.

    Args:
        line: without its CRLF.
        longest: the most bytes that its target may have.

    Raises:
        HTTPError: 400, 414, 501 or 505. A target that came so, llhttp has yet to accept.
    """
    parts = line.split(b" ")
    if len(parts) != 3:
        raise _refusal(line, longest)
    method, target, version = parts
    if len(target) > longest:
        raise _too_long()
    if version == b"HTTP/1.1" and target and method in _METHODS:
        return _METHODS[method], target.decode("latin-1"), True, None
    return _read_unusual(line, longest)


def _read_unusual(line: bytes, longest: int) -> RequestLine:
    match = _LINE.fullmatch(line)
    if match is None:
        raise _refusal(line, longest)
    method, target, major, minor = match.groups()
    if major != b"1":
        version = f"HTTP/{major.decode()}.{minor.decode()}"
        raise HTTPError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, f"{version} is not spoken here")
    if method == b"CONNECT":
        raise HTTPError(HTTPStatus.NOT_IMPLEMENTED, "this is no proxy")
    # RFC 9110, section 2.5: a higher minor version is treated as the highest that is known.
    http11 = minor != b"0"
    plain = b"%b %b HTTP/1.%d" % (method if method in _METHODS else b"POST", target, http11)
    return method.decode(), target.decode(), http11, plain if plain != line else None


def check_beginning(part: bytes, longest: int) -> None:
    """Refuse what can't become a request line, whatever comes behind it.

    Raises:
        HTTPError: 400 or 414.
    """
    if _BEGINNING.fullmatch(part) is None or len(_target(part)) > longest:
        raise _refusal(part, longest)


def _target(line: bytes) -> bytes:
    return line.partition(b" ")[2].partition(b" ")[0]


def _refusal(line: bytes, longest: int) -> HTTPError:
    """What is wrong with a line that is none."""
    method = line.partition(b" ")[0]
    if len(method) > _LONGEST_METHOD and re.fullmatch(_TOKEN + rb"+", method):
        return HTTPError(HTTPStatus.NOT_IMPLEMENTED, "the method is too long")
    if len(_target(line)) > longest:
        return _too_long()
    return HTTPError(HTTPStatus.BAD_REQUEST, "malformed request line")


def _too_long() -> HTTPError:
    return HTTPError(HTTPStatus.REQUEST_URI_TOO_LONG, "the request line is too long")
