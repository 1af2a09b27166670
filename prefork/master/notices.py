"""Notices: what the fleet tells, in the words of the log. Pure."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from prefork.master.steps import (
    BackedOff,
    Baking,
    Recovered,
    ReloadAborted,
    ReloadDone,
    Started,
    Step,
    WentBack,
)
from prefork.wire.identity import place


def _started(step: Started) -> str:
    return f"started: {step.size} serving"


def _reload_done(step: ReloadDone) -> str:
    return f"reload to generation {step.generation} done in {step.seconds:.2f} s"


def _baking(step: Baking) -> str:
    return f"{step.worker} bakes: the reload goes on if it serves for {step.seconds:g} s"


def _reload_aborted(step: ReloadAborted) -> str:
    what = (
        f"reload to generation {step.generation} aborted after {step.seconds:.2f} s: {step.why}; "
        "what served before goes on"
    )
    if not step.replaced:
        return what
    slots = ", ".join(map(str, step.replaced))
    if step.back is None:
        return f"{what}; slots with the new generation: {slots}"
    return f"{what}; slots that go back to generation {step.back}: {slots}"


def _went_back(step: WentBack) -> str:
    return f"back at generation {step.generation} in every slot after {step.seconds:.2f} s"


def _backed_off(step: BackedOff) -> str:
    return (
        f"{place(step.slot)} has failed {step.failures} times in a row: the next one comes in "
        f"{step.seconds:.1f} s"
    )


def _recovered(step: Recovered) -> str:
    return f"{place(step.slot)} has recovered, after {step.failures} failures"


_WORDS: dict[type[Any], tuple[int, Callable[[Any], str]]] = {
    Started: (logging.INFO, _started),
    ReloadDone: (logging.INFO, _reload_done),
    Baking: (logging.INFO, _baking),
    ReloadAborted: (logging.ERROR, _reload_aborted),
    WentBack: (logging.INFO, _went_back),
    BackedOff: (logging.WARNING, _backed_off),
    Recovered: (logging.INFO, _recovered),
}


def notice(step: Step) -> tuple[int, str] | None:
    """The severity of what a step tells, and what that is; None if there is nothing to tell."""
    severity, words = _WORDS.get(type(step), (logging.NOTSET, None))
    return (severity, words(step)) if words is not None else None
