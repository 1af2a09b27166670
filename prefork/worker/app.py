"""Finding the app: `module:attr` or `module:factory()`."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from types import ModuleType, TracebackType

from prefork.errors import BootError
from prefork.wsgi import App

_DEFAULT_ATTRIBUTES = ("application", "app")
# An app may raise anything while it is imported, even what is meant for the interpreter.
_WHATEVER = (Exception, SystemExit, KeyboardInterrupt)
_OUR_FILES = (os.path.dirname(__file__), importlib.__file__)


def load_app(name: str) -> App:
    """Import the app.

    Args:
        name: the setting `app`.

    Raises:
        BootError: it can't be had. What the app itself raised is in the message, with the part
            of the traceback that is the app's.
    """
    found = load_attribute(name)
    if not callable(found):
        raise BootError(f"{name} is not callable: it is {type(found).__name__!r}")
    return found


def load_attribute(name: str) -> object:
    """What a name such as `module:attribute` stands for; errors are as of `load_app`."""
    module_name, _, attribute = name.partition(":")
    return _resolve(_import(module_name, name), attribute, name)


def _import(module_name: str, name: str) -> ModuleType:
    importlib.invalidate_caches()
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(error.name + ".")):
            where = ", ".join(sys.path[:3])
            raise BootError(
                f"no module {error.name!r} for {name} (looked in {where}, ...)"
            ) from None
        raise app_raised(f"{module_name} can't be imported", error) from None
    except _WHATEVER as error:
        raise app_raised(f"{module_name} can't be imported", error) from None


def _resolve(module: ModuleType, attribute: str, name: str) -> object:
    if not attribute:
        for default in _DEFAULT_ATTRIBUTES:
            if hasattr(module, default):
                return getattr(module, default)
        raise BootError(f"{name} has neither 'application' nor 'app'")
    found: object = module
    for part in attribute.removesuffix("()").split("."):
        if not hasattr(found, part):
            raise BootError(f"{module.__name__} has no {attribute.removesuffix('()')!r}")
        found = getattr(found, part)
    if not attribute.endswith("()"):
        return found
    if not callable(found):
        raise BootError(f"{name}: it is no factory, as it is not callable")
    try:
        return found()
    except _WHATEVER as error:
        raise app_raised(f"{name} raised", error) from None


def app_raised(what: str, error: BaseException) -> BootError:
    """What code of the operator's has raised, with its part of the traceback."""
    trace = _of_the_app(error.__traceback__)
    text = "".join(traceback.format_exception(type(error), error, trace))
    return BootError(f"{what}:\n{text.rstrip()}")


def _of_the_app(trace: TracebackType | None) -> TracebackType | None:
    """The traceback without the frames of prefork and the import system on top of it."""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith((*_OUR_FILES, "<frozen importlib")):
            return trace
        trace = trace.tb_next
    return None
