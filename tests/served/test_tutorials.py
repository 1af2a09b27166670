"""The apps of Django's and Flask's tutorials move here when one word of the command is changed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.machine import Machine
from tests.support.server import PATIENCE, ROOT

TUTORIALS = ROOT / "tests/tutorials"


def polls(home: Path) -> None:
    """Django's: a project as Django makes it, with the app, and what is typed once."""
    django = [sys.executable, "-m", "django", "startproject", "mysite", str(home)]
    subprocess.run(django, check=True, timeout=PATIENCE)
    with open(home / "mysite/settings.py", "a") as settings:
        settings.write('\nINSTALLED_APPS.append("polls")\n')
    with open(home / "mysite/urls.py", "a") as urls:
        urls.write(
            "\nfrom django.urls import include\nfrom polls.views import index\n\n"
            'urlpatterns += [path("polls/", include("polls.urls")), path("", index)]\n'
        )
    subprocess.run(
        [sys.executable, "-m", "polls.prepare"],
        cwd=home,
        env={"DJANGO_SETTINGS_MODULE": "mysite.settings"},
        check=True,
        timeout=PATIENCE,
    )


def flaskr(home: Path) -> None:
    """Flask's: it makes its tables itself."""


@pytest.mark.parametrize(
    ("app", "prepare", "command"),
    [
        ("polls", polls, "gunicorn mysite.wsgi"),
        ("flaskr", flaskr, "gunicorn -w 4 'flaskr:create_app()'"),
    ],
    ids=["polls", "flaskr"],
)
def test_a_tutorial_moves_by_one_word(
    machine: Machine, app: str, prepare: Callable[[Path], None], command: str
) -> None:
    shutil.copytree(TUTORIALS / app, machine.home / app)
    shutil.copy(TUTORIALS / "visitor.py", machine.home)
    prepare(machine.home)
    before, after = command, command.replace("gunicorn", "prefork")
    said = machine.run(
        f"serve {before}\npython visitor.py {app} 1\nserve {after}\npython visitor.py {app} 2"
    )
    assert "prefork 0." in said
