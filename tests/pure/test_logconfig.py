"""The table [log]: what is refused without importing anything, and what is done with the rest."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prefork import logconfig
from prefork.errors import UsageError


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root of the loggers, which is what it was afterwards."""
    logger = logging.getLogger()
    before = logger.level, logger.handlers[:]
    yield logger
    for handler in logger.handlers:
        if handler not in before[1]:
            handler.close()
    logger.setLevel(before[0])
    logger.handlers[:] = before[1]


SOUND: dict[str, Any] = {
    "version": 1,
    "formatters": {"short": {"format": "%(message)s"}},
    "filters": {"some": {"name": "shop"}},
    "handlers": {
        "file": {
            "class": "logging.FileHandler",
            "filename": "log",
            "formatter": "short",
            "filters": ["some"],
        }
    },
    "loggers": {"shop": {"level": "INFO", "handlers": ["file"]}},
    "root": {"handlers": ["file"]},
}


def test_what_fits_together_is_taken() -> None:
    logconfig.check({})
    logconfig.check(SOUND)
    logconfig.check({"incremental": True, "root": {"handlers": ["unknown"]}})


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"version": 2}, "version: expected 1"),
        ({"handler": {}}, "there is no 'handler'"),
        ({"handlers": ["file"]}, "handlers: expected a table"),
        ({"loggers": {"shop": "INFO"}}, "loggers: expected a table"),
        ({"root": "INFO"}, "root: expected a table"),
        ({"root": {"handlers": ["fil"]}}, "root: 'fil' is none of the handlers"),
        ({"loggers": {"a": {"handlers": [1]}}}, "loggers.a: 1 is none of the handlers"),
        ({"loggers": {"a": {"filters": [["x"]]}}}, r"loggers.a: \['x'\] is none of the filters"),
        ({"formatters": {}}, "handlers.file: 'short' is none of the formatters"),
        ({"filters": {}}, "handlers.file: 'some' is none of the filters"),
    ],
)
def test_what_does_not_is_refused(changed: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match=f"^log: {why}$") as caught:
        logconfig.check(SOUND | changed)
    assert caught.value.setting == "log"


def test_it_is_applied_and_leaves_other_loggers_alone(tmp_path: Path, root: logging.Logger) -> None:
    ours = logging.getLogger("prefork.sample")
    handler = {"class": "logging.FileHandler", "filename": str(tmp_path / "log")}
    logconfig.apply({"handlers": {"file": handler}, "root": {"handlers": ["file"]}})
    logging.getLogger("shop").warning("sold out")
    assert (tmp_path / "log").read_text() == "sold out\n"
    assert not ours.disabled


def test_why_it_cannot_be_applied_is_said(tmp_path: Path, root: logging.Logger) -> None:
    handler = {"class": "logging.FileHandler", "filename": str(tmp_path / "none/log")}
    with pytest.raises(UsageError, match=r"^log: .*handler 'file'.*No such file or directory"):
        logconfig.apply({"handlers": {"file": handler}, "root": {"handlers": ["file"]}})
