"""What trusted proxies say of a request in its header fields: who has sent it, to which host, how.

By `Forwarded` (RFC 7239), or, where there is none, by X-Forwarded-For, -Proto and -Host. Proxies
add to the end, so they are read from there: what the client has sent itself comes before, and
whatever that is, it changes nothing of what was said behind it.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from ipaddress import ip_address
from itertools import islice
from typing import Any, NamedTuple

_FOR, _PROTO, _HOST = "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST"
_STANDARD = "HTTP_FORWARDED"
# So many proxies are listened to.
_MOST_HOPS = 32
_SCHEMES = frozenset({"http", "https"})

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
# One parameter of RFC 7239, section 4. None that matters here has a comma or a semicolon in it.
_PARAMETER = re.compile(rf'({_TOKEN})=(?:({_TOKEN})|"([^"\\]*)")')
_NODE = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+))(?::([0-9]{1,5}))?\Z")
_AUTHORITY = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[0-9A-Za-z._~%!$&'()*+,;=-]+)(?::[0-9]{0,5})?\Z")


class _Hop(NamedTuple):
    """What one proxy says: who has connected to it, asking for what. Empty is what it does not."""

    client: str = ""
    scheme: str = ""
    host: str = ""


def apply(environ: dict[str, Any], trusted: Container[str]) -> None:
    """Have an environ say of the client what the proxies do.

    Args:
        environ: of a request that has come from a trusted proxy; it is changed.
        trusted: the addresses of those.
    """
    hops: Iterator[_Hop | None]
    if _STANDARD in environ:
        hops = map(_standard, _from_the_end(environ[_STANDARD]))
    elif _FOR in environ or _PROTO in environ or _HOST in environ:
        hops = _customary(environ)
    else:
        return
    found = _first_trusted(hops, trusted)
    if found is None:
        return
    hop, address = found
    if address is not None:
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = address
    if hop.scheme:
        environ["wsgi.url_scheme"] = hop.scheme
        if hop.scheme == "https":
            environ["HTTPS"] = "on"
        else:
            environ.pop("HTTPS", None)
    if hop.host:
        environ["HTTP_HOST"] = hop.host


def _first_trusted(
    hops: Iterator[_Hop | None], trusted: Container[str]
) -> tuple[_Hop, tuple[str, str] | None] | None:
    """What the first proxy says that all behind it are trusted, and the client's address and port.

    Each vouches for the one that has connected to it, if that is trusted too.
    """
    found = None
    for hop in islice(hops, _MOST_HOPS):
        if hop is None:
            break
        address = _node(hop.client)
        found = hop, address
        if address is None or address[0] not in trusted:
            break
    return found


def _hop(client: str, scheme: str, host: str) -> _Hop | None:
    """What one says, None if it makes no sense."""
    scheme = scheme.lower()
    if (scheme and scheme not in _SCHEMES) or (host and not _AUTHORITY.match(host)):
        return None
    return _Hop(client, scheme, host)


def _node(text: str) -> tuple[str, str] | None:
    """An address and a port, "0" if it has none; None for what is no address, such as "unknown"."""
    match = _NODE.match(text)
    host, port = (match[1] or match[2], match[3]) if match else (text, None)
    if "%" in host:
        return None  # a zone of IPv6 means nothing elsewhere, and may be any text at all
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return str(address), port or "0"


def _customary(environ: dict[str, Any]) -> Iterator[_Hop | None]:
    """The hops by X-Forwarded-For, from the end. Of the other two fields the last value counts."""
    scheme = next(_from_the_end(environ.get(_PROTO, "")))
    host = next(_from_the_end(environ.get(_HOST, "")))
    for client in _from_the_end(environ.get(_FOR, "")):
        sound = not client or _node(client) is not None
        yield _hop(client, scheme, host) if sound else None


def _standard(element: str) -> _Hop | None:
    """One element of `Forwarded`."""
    values: dict[str, str] = {}
    for part in element.split(";"):
        match = _PARAMETER.fullmatch(part.strip())
        if match is None or match[1].lower() in values:
            return None
        values[match[1].lower()] = match[2] or match[3] or ""
    return _hop(values.get("for", ""), values.get("proto", ""), values.get("host", ""))


def _from_the_end(text: str) -> Iterator[str]:
    """The parts of a list, the last one first."""
    return (part.strip() for part in reversed(text.split(",")))
