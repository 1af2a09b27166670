"""What rich makes of tables. Imported only where rich is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from prefork.ctl.text import LEFT

if TYPE_CHECKING:
    from prefork.ctl.top import View

_STATES = {
    "serving": "green",
    "booting": "yellow",
    "leaving": "yellow",
    "draining": "cyan",
    "dumping": "red",
    "dying": "red",
    "stopped": "red",
    "empty": "red",
}


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table; a worker's state has its colour."""
    made = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        last = column == columns[-1]
        made.add_column(
            column,
            justify="left" if column in LEFT else "right",
            no_wrap=not last,
            overflow="ellipsis" if not last else "fold",
        )
    for row in rows:
        made.add_row(*(Text(cell, style=_STATES.get(cell, "")) for cell in row))
    return made


def screen(view: View) -> Group:
    """What `top` shows."""
    from prefork.ctl.top import COLUMNS, SLOW_COLUMNS

    first, *rest = view.head()
    parts: list[RenderableType] = [
        Text(first, style="bold"),
        *map(Text, rest),
        table(COLUMNS, view.rows()),
    ]
    if view.slow:
        parts += [Text("slowest requests", style="bold"), table(SLOW_COLUMNS, view.slow_rows())]
    return Group(*parts)
