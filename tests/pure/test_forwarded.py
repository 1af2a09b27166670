"""What proxies say of clients: believed from the end on, as far as they are trusted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefork.http import forwarded
from prefork.networks import Networks

TRUSTED = Networks(["127.0.0.1", "10.0.0.0/8", "2001:db8::/32"], "forwarded_allow_ips")
FIELDS = {
    "for": "HTTP_X_FORWARDED_FOR",
    "proto": "HTTP_X_FORWARDED_PROTO",
    "host": "HTTP_X_FORWARDED_HOST",
    "standard": "HTTP_FORWARDED",
}


def environ(**fields: str) -> dict[str, Any]:
    return {
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "4711",
        "wsgi.url_scheme": "http",
        "HTTP_HOST": "inside",
        **{FIELDS[name]: value for name, value in fields.items()},
    }


def said(**fields: str) -> tuple[str, str, str, str]:
    """The client's address and port, the scheme and the host, when the fields were applied."""
    found = environ(**fields)
    forwarded.apply(found, TRUSTED)
    assert (found.get("HTTPS") == "on") == (found["wsgi.url_scheme"] == "https")
    names = ("REMOTE_ADDR", "REMOTE_PORT", "wsgi.url_scheme", "HTTP_HOST")
    address, port, scheme, host = (found[name] for name in names)
    return address, port, scheme, host


NOTHING = ("127.0.0.1", "4711", "http", "inside")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, NOTHING),
        ({"for": "192.0.2.1"}, ("192.0.2.1", "0", "http", "inside")),
        ({"for": "192.0.2.1:99"}, ("192.0.2.1", "99", "http", "inside")),
        ({"for": "2001:DB9::1"}, ("2001:db9::1", "0", "http", "inside")),
        ({"for": "[2001:db9::1]:99"}, ("2001:db9::1", "99", "http", "inside")),
        # The client has made the first one up.
        ({"for": "6.6.6.6, 192.0.2.1"}, ("192.0.2.1", "0", "http", "inside")),
        ({"for": "6.6.6.6, 192.0.2.1, 10.0.0.9"}, ("192.0.2.1", "0", "http", "inside")),
        ({"for": "garbage\\, \", 192.0.2.1"}, ("192.0.2.1", "0", "http", "inside")),
        ({"for": "10.0.0.8, 10.0.0.9"}, ("10.0.0.8", "0", "http", "inside")),
        ({"for": "192.0.2.1, unknown"}, NOTHING),
        # The zone of an address may be any text.
        ({"for": "fe80::1%\" 200 -"}, NOTHING),
        ({"standard": "for=\"2001:db9::1%a b\""}, NOTHING),
        ({"for": "unknown, 10.0.0.9"}, ("10.0.0.9", "0", "http", "inside")),
        ({"for": "999.1.1.1"}, NOTHING),
        ({"proto": "https"}, ("127.0.0.1", "4711", "https", "inside")),
        ({"proto": "http, HTTPS"}, ("127.0.0.1", "4711", "https", "inside")),
        ({"proto": "javascript"}, NOTHING),
        ({"host": "a.example:8443"}, ("127.0.0.1", "4711", "http", "a.example:8443")),
        ({"host": "evil.example, a.example"}, ("127.0.0.1", "4711", "http", "a.example")),
        ({"host": "a.example/path"}, NOTHING),
        ({"host": "[::1]:80", "for": "192.0.2.1", "proto": "https"},
         ("192.0.2.1", "0", "https", "[::1]:80")),
        ({"standard": "for=192.0.2.1;proto=https;host=a.example;by=10.0.0.1"},
         ("192.0.2.1", "0", "https", "a.example")),
        ({"standard": 'For="[2001:db9::1]:99"; Proto=HTTPS'},
         ("2001:db9::1", "99", "https", "inside")),
        ({"standard": "for=6.6.6.6, for=192.0.2.1"}, ("192.0.2.1", "0", "http", "inside")),
        ({"standard": 'for="6.6.6.6, for=192.0.2.1'}, ("192.0.2.1", "0", "http", "inside")),
        ({"standard": "for=192.0.2.1;proto=https, for=10.0.0.9;proto=http"},
         ("192.0.2.1", "0", "https", "inside")),
        ({"standard": "for=_hidden;proto=https"}, ("127.0.0.1", "4711", "https", "inside")),
        ({"standard": "for=192.0.2.1;for=192.0.2.2"}, NOTHING),
        ({"standard": "for=192.0.2.1;proto"}, NOTHING),
        # The standard's field wins, even where it says nothing.
        ({"standard": "nonsense", "for": "192.0.2.1"}, NOTHING),
    ],
)  # fmt: skip
def test_what_is_said_is_believed_as_far_as_it_is_trusted(
    fields: dict[str, str], expected: tuple[str, str, str, str]
) -> None:
    assert said(**fields) == expected


TEXT = st.text(st.sampled_from('for=proths:;,"\\[]. 192_\t'), max_size=60) | st.text(max_size=60)


@given(st.dictionaries(st.sampled_from([*FIELDS]), TEXT))
def test_nothing_that_clients_make_up_raises_or_leaves_nonsense(fields: dict[str, str]) -> None:
    address, port, scheme, host = said(**fields)
    assert address == "127.0.0.1" or Networks([address], "")
    assert port.isdecimal()
    assert scheme in ("http", "https")
    assert not set(host) & set('/\\"<> \t')


@given(TEXT)
def test_what_comes_before_a_hop_that_is_not_trusted_changes_nothing(before: str) -> None:
    alone = said(**{"for": "192.0.2.1"})
    assert said(**{"for": f"{before},192.0.2.1"}) == alone
    assert said(standard=f"{before},for=192.0.2.1") == alone
