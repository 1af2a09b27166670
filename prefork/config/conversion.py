"""What was given to a setting, as a value of its type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_origin

import msgspec

from prefork.config.sources import Given
from prefork.config.toml import value_toml
from prefork.errors import UsageError
from prefork.settings import TABLE, Setting


def convert(given: Given) -> Any:
    """The value as the setting's type.

    Raises:
        UsageError: it is no such value.
    """
    row = TABLE[given.name]
    try:
        value = (
            _parse_text(row, given.value) if isinstance(given.value, str | list) else given.value
        )
        converted = msgspec.convert(value, row.type, strict=not given.text)
        _refuse_nul(converted)
        return converted
    except msgspec.ValidationError as error:
        why = f"expected {_words(row.choices)}" if row.choices else _plain(str(error))
    except ValueError as error:
        why = str(error)
    shown = given.value if given.text and isinstance(given.value, str) else value_toml(given.value)
    raise UsageError(f"{given.origin}: {given.name} = {shown}: {why}")


def _parse_text(row: Setting, value: str | list[Any]) -> Any:
    """A string, or the strings of a repeated flag, as what the setting's type is made of."""
    if row.option.parse is not None and isinstance(value, str):
        return row.option.parse(value)
    if not row.holds_several:
        return value
    if get_origin(row.bare) is not dict:
        given = [value] if isinstance(value, str) else value
        return [part for text in given for part in _split(text)]
    # A repeated flag gives one pair at a time, which may hold commas.
    parts = _split(value) if isinstance(value, str) else value
    pairs = [str(part).partition("=") for part in parts]
    if not all(key and equals for key, equals, _ in pairs):
        raise ValueError("expected KEY=VALUE")
    return {key: item for key, _, item in pairs}


def _split(text: Any) -> list[Any]:
    """The items of a list that is written in one string; what is no string stays as it is."""
    if not isinstance(text, str):
        return [text]
    return [part.strip() for part in text.split(",") if part.strip()]


def _refuse_nul(value: Any) -> None:
    """No path, address or variable can hold a NUL, as the kernel would take it for the end."""
    texts = [*value, *value.values()] if isinstance(value, dict) else value
    for text in texts if isinstance(texts, list) else [texts]:
        if isinstance(text, str) and "\0" in text:
            raise ValueError("holds a NUL")
    if isinstance(value, dict) and not all(key and "=" not in key for key in value):
        raise ValueError("not the name of an environment variable")


def _words(choices: Sequence[str]) -> str:
    return " or ".join(f"'{choice}'" for choice in choices)


def _plain(message: str) -> str:
    """A validation message of msgspec in the middle of a sentence."""
    return message[:1].lower() + message[1:].replace("`", "")
