"""Man pages in the macros of man(7), made of prose in a little of Markdown."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

from prefork import __date__, __version__
from reference.words import wrapped

_WIDTH = 78
_VOLUMES = {1: "User Commands", 5: "File Formats"}
_ESCAPES = str.maketrans(
    {"\\": r"\e", "-": r"\-", "'": r"\(aq", '"': r"\(dq", "^": r"\(ha", "~": r"\(ti"}
)


def page(name: str, section: int, parts: Mapping[str, Iterable[str]]) -> str:
    """A whole page, of its parts by their titles."""
    lines = [
        r".\" Made by `make docs`.",
        f'.TH {name.upper()} {section} {__date__} "prefork {__version__}" "{_VOLUMES[section]}"',
    ]
    for title, content in parts.items():
        lines += [f".SH {title}", *content]
    return "\n".join(lines) + "\n"


def prose(text: str) -> Iterator[str]:
    """Paragraphs, and examples, in which blank lines may be."""
    separator: list[str] = []
    for example, group in groupby(text.rstrip().split("\n\n"), lambda part: part.startswith(" ")):
        for block in ["\n\n".join(group)] if example else group:
            yield from separator
            yield from _example(block) if example else _paragraph(block)
            separator = [".PP"]


def _paragraph(text: str) -> Iterator[str]:
    marked = re.sub(r"`(.*?)`", r"\\fB\1\\fR", escaped(text), flags=re.DOTALL)
    for line in wrapped(marked, _WIDTH):
        # A line that begins with a dot would be a macro.
        yield rf"\&{line}" if line.startswith(".") else line


def _example(text: str) -> Iterator[str]:
    yield from (".RS 4", ".EX")
    yield from escaped(textwrap.dedent(text)).splitlines()
    yield from (".EE", ".RE")


def definitions(texts: Mapping[str, str]) -> Iterator[str]:
    """A list of terms, each with its text."""
    for term, text in texts.items():
        yield from item(bold(term), text)


def item(term: str, text: str) -> list[str]:
    """One term of a list, in roff, with its text."""
    return [".TP", term, *prose(text)]


def bold(text: str) -> str:
    """Plain text in bold type."""
    return rf"\fB{escaped(text)}\fR"


def italic(text: str) -> str:
    """Plain text in italics: a word that stands for another."""
    return rf"\fI{escaped(text)}\fR"


def escaped(text: str) -> str:
    """Text in which roff finds nothing that means something to it, dots in front aside."""
    return text.translate(_ESCAPES)


def see(*pages: str) -> list[str]:
    """References to other pages, each as name(section)."""
    names = [re.sub(r"\(", " (", name) for name in pages]
    return [*(f".BR {name}," for name in names[:-1]), f".BR {names[-1]}"]
