"""Where the app is, if nobody says: files are looked for, nothing is imported."""

from __future__ import annotations

import os
import re

_FILES = ("app.py", "wsgi.py", "main.py")
_MANAGE = "manage.py"
_DJANGO = re.compile(r"""DJANGO_SETTINGS_MODULE["'\]\s,=]+["']([\w.]+)["']""")

LOOKED_FOR = f"{', '.join(_FILES)}, or a wsgi.py of the project that Django's {_MANAGE} names"


def find_app(directory: str) -> str:
    """The module of the app in a directory, empty if there is none."""
    for file in _FILES:
        if os.path.isfile(os.path.join(directory, file)):
            return file.removesuffix(".py")
    return _of_django(directory)


def _of_django(directory: str) -> str:
    """The module `wsgi` beside the settings that manage.py names, or above."""
    try:
        with open(os.path.join(directory, _MANAGE), encoding="utf-8", errors="replace") as file:
            named = _DJANGO.search(file.read())
    except OSError:
        return ""
    parts = named[1].split(".") if named else []
    for count in range(len(parts) - 1, 0, -1):
        if os.path.isfile(os.path.join(directory, *parts[:count], "wsgi.py")):
            return ".".join([*parts[:count], "wsgi"])
    return ""
