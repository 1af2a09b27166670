"""Which files are generated, and how."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from prefork import config
from prefork.completion import bash, fish
from prefork.ctl import main as ctl
from reference import ctl_page, gunicorn_page, prefork_page, sample, toml_page

# By their paths in the repository.
FILES: dict[str, Callable[[], str]] = {
    "man/prefork.1": prefork_page.page,
    "man/preforkctl.1": ctl_page.page,
    "man/prefork.toml.5": toml_page.page,
    "conf/prefork.toml": sample.text,
    "docs/gunicorn-settings.md": gunicorn_page.page,
    "completions/prefork.bash": partial(bash, config.parser()),
    "completions/preforkctl.bash": partial(bash, ctl.parser()),
    "completions/prefork.fish": partial(fish, config.parser()),
    "completions/preforkctl.fish": partial(fish, ctl.parser()),
}
