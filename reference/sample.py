"""conf/prefork.toml: a file of comments, in which every setting stands at its default."""

from __future__ import annotations

from prefork import __version__
from prefork.config import value_toml
from prefork.settings import Group
from reference.words import settings, valid_values, wrapped

# TOML has no value that means "not set": these lines show one that could be.
INSTEAD_OF_NONE = {"umask": "0o022"}

_WIDTH = 98

_HEAD = f"""\
# The settings of prefork {__version__}, each at its default.
#
# To set one, take away the # before it. The command line and the PREFORK_ variables win over
# this file; `prefork -c FILE --print-config` shows what is in effect, and where it came from.
# See prefork.toml(5).
"""


def text() -> str:
    """The file, in TOML."""
    lines = [_HEAD]
    for group in Group:
        lines.append(f"\n# ---- {group.value} ----\n")
        for row in settings(group):
            explained = f"{row.option.help} Valid: {valid_values(row)}."
            lines += [f"# {line}" for line in wrapped(explained, _WIDTH - 2)]
            value = INSTEAD_OF_NONE[row.name] if row.default is None else value_toml(row.default)
            lines.append(f"#{row.name} = {value}\n")
    return "\n".join(lines)
