"""What a string of the command line or of the environment means, where the type of the setting does
not say."""

from __future__ import annotations

import json

# As gunicorn calls them.
_KINDS = {"gthread": "threads"}

# As the module ssl numbers them, and gunicorn.
_VERIFY = {"0": "none", "1": "optional", "2": "required"}

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def kind(text: str) -> str:
    """A kind of worker, by gunicorn's names as well."""
    return _KINDS.get(text, text)


def verify(text: str) -> str:
    """Whether certificates are asked for, by number as well."""
    return _VERIFY.get(text, text)


def octal(text: str) -> int:
    """A file mode mask."""
    try:
        return int(text, 8)
    except ValueError:
        raise ValueError("expected an octal number, such as 022") from None


def size(text: str) -> int:
    """A number of bytes, with a unit or none."""
    number, unit = text[:-1], text[-1:].upper()
    if text.isdecimal():
        number, unit = text, ""
    if not (number.isascii() and number.isdecimal() and unit in _UNITS):
        raise ValueError("expected a number of bytes, such as 512M or 2G")
    return int(number) * _UNITS[unit]


def json_value(text: str) -> object:
    """Whatever JSON says."""
    try:
        return json.loads(text)
    except ValueError:
        raise ValueError("expected JSON") from None


def url_path(text: str) -> str:
    """The path of a URL, or nothing."""
    if text and not (text.startswith("/") and text.isascii() and text.isprintable()):
        raise ValueError("expected a path that begins with /")
    if " " in text:
        raise ValueError("a path has no spaces: write %20")
    return text
