"""Somebody at a browser: `visitor.py polls 2` visits the polls on port 8000 for the second time."""

from __future__ import annotations

import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar

_browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))


def ask(path: str, **form: str) -> str:
    """A page; with a form, the one that comes of posting it."""
    data = urllib.parse.urlencode(form).encode() if form else None
    with _browser.open(f"http://127.0.0.1:8000{path}", data, timeout=30) as response:
        text: str = response.read().decode()
    return text


def polls(visit: int) -> None:
    """Vote, and see that the vote counts beside those of the visits before."""
    assert "What&#x27;s new?" in ask("/polls/")
    page = ask("/polls/1/")
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    assert token is not None
    assert f"The sky: {visit - 1}<" in page
    page = ask("/polls/1/vote/", choice="2", csrfmiddlewaretoken=token[1])
    assert f"The sky: {visit}<" in page


def flaskr(visit: int) -> None:
    """Register, log in, write, and read what is written."""
    try:
        ask("/create", title="nobody's")
        raise AssertionError("nobody has logged in")
    except urllib.error.HTTPError as error:
        assert error.code == 403
    name = f"Visitor {visit}"
    ask("/auth/register", name=name, password="secret")
    ask("/auth/login", name=name, password="secret")
    page = ask("/create", title="It works")
    assert f"<h1>It works</h1> by {name}" in page
    assert page.count("<h1>") == visit


if __name__ == "__main__":
    {"polls": polls, "flaskr": flaskr}[sys.argv[1]](int(sys.argv[2]))
