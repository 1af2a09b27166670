"""Settings, and what they may be, in words."""

from __future__ import annotations

import textwrap

from msgspec import inspect

from prefork.config import value_toml
from prefork.settings import TABLE, Group, Setting


def settings(group: Group) -> list[Setting]:
    """The settings under a heading, in their order."""
    return [row for row in TABLE.values() if row.option.group is group]


def valid_values(row: Setting) -> str:
    """What a setting may be."""
    if row.choices:
        return " or ".join(value_toml(choice) for choice in row.choices)
    return _type_words(inspect.type_info(row.type))


def _type_words(kind: inspect.Type) -> str:
    match kind:
        case inspect.BoolType():
            return "true or false"
        case inspect.StrType():
            return "string"
        case inspect.IntType():
            return "whole number" + _bounds(kind)
        case inspect.FloatType():
            # Every number that is no whole one is a time.
            return "number of seconds" + _bounds(kind)
        case inspect.LiteralType(values):
            return " or ".join(value_toml(value) for value in values)
        case inspect.ListType(item_type=item):
            return f"list of {_type_words(item)}s"
        case inspect.DictType(value_type=inspect.AnyType()):
            return "table"
        case inspect.DictType(value_type=item):
            return f"table of {_type_words(item)}s"
        case inspect.UnionType(types):
            known = [one for one in types if not isinstance(one, inspect.NoneType)]
            return " or ".join(map(_type_words, known))
    raise NotImplementedError(f"no words for {kind}")


def _bounds(kind: inspect.IntType | inspect.FloatType) -> str:
    limits = {"above": kind.gt, "at least": kind.ge, "below": kind.lt, "at most": kind.le}
    said = [f"{word} {limit}" for word, limit in limits.items() if limit is not None]
    return f" ({', '.join(said)})" if said else ""


def sentence(text: str) -> str:
    """A text that may lack its capital and its period, as a sentence."""
    return text[:1].upper() + text[1:].rstrip(".") + "."


def wrapped(text: str, width: int) -> list[str]:
    """The text in lines, none of which is longer unless a word is."""
    return textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)
