"""Values as TOML."""

from __future__ import annotations

import json
import re
from datetime import date, time
from typing import Any

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+\Z")


def key_toml(key: str) -> str:
    """A TOML key."""
    return key if _BARE_KEY.match(key) else value_toml(key)


def value_toml(value: Any) -> str:
    """A TOML value, on one line: JSON writes strings, numbers and booleans alike, but for DEL
    and for what is not Unicode, such as undecodable bytes of the environment."""
    if isinstance(value, date | time):
        return str(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, list):
        return f"[{', '.join(map(value_toml, value))}]"
    if isinstance(value, dict):
        items = (f"{key_toml(key)} = {value_toml(item)}" for key, item in value.items())
        return f"{{{', '.join(items)}}}"
    text = json.dumps(value, ensure_ascii=False, default=str).replace("\x7f", "\\u007f")
    return text.encode("utf-8", "replace").decode("utf-8")
