"""What the pages of the project link to is there: files, pictures, and headings that are named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.server import ROOT

PAGES = sorted(
    page
    for folder in (".", "docs", "conf", "benchmarks", "tests", "man")
    for page in (ROOT / folder).glob("*.md")
)
_LINK = re.compile(r"""\]\(([^)\s]+)\)|\b(?:src|srcset|href)="([^"\s]+)\"""")
_CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return _CODE.sub("", page.read_text())


def links(page: Path) -> list[str]:
    """What a page links to within the project."""
    found = [link or attribute for link, attribute in _LINK.findall(prose(page))]
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def anchors(page: Path) -> set[str]:
    """How code-hosting sites name the headings of a page."""
    headings = (
        re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(prose(page))
    )
    return {heading.replace(" ", "-") for heading in headings}


def resolves(page: Path, link: str) -> bool:
    """Whether there is the file, and the heading in it, if one is named."""
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    return target.exists() and (not anchor or anchor in anchors(target))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_links_to_is_there(page: Path) -> None:
    assert [link for link in links(page) if not resolves(page, link)] == []


@pytest.mark.parametrize("link", ["nowhere.md", "README.md#nothing", "#nothing"])
def test_a_link_to_what_is_not_there_is_noticed(link: str) -> None:
    assert not resolves(ROOT / "README.md", link)
