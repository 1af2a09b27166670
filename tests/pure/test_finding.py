"""Where an app is found that nobody has named."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefork import config
from prefork.finding import find_app

# As Django's startproject writes it.
MANAGE = "os.environ.setdefault('DJANGO_SETTINGS_MODULE', '{}')\n"


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["app.py", "wsgi.py", "main.py"], "app"),
        (["wsgi.py", "main.py"], "wsgi"),
        (["main.py", "other.py"], "main"),
        (["other.py"], ""),
        ([], ""),
    ],
)
def test_the_usual_files_are_looked_for_in_order(
    tmp_path: Path, files: list[str], found: str
) -> None:
    for file in files:
        (tmp_path / file).touch()
    assert find_app(str(tmp_path)) == found


def test_a_directory_of_that_name_is_none(tmp_path: Path) -> None:
    (tmp_path / "app.py").mkdir()
    assert find_app(str(tmp_path)) == ""


@pytest.mark.parametrize(
    "line",
    [
        MANAGE,
        MANAGE.replace("'", '"'),
        "os.environ['DJANGO_SETTINGS_MODULE'] = '{}'\n",
        'os.environ.setdefault(\n    "DJANGO_SETTINGS_MODULE",\n    "{}",\n)\n',
    ],
)
def test_djangos_is_found_by_the_settings_that_manage_names(tmp_path: Path, line: str) -> None:
    (tmp_path / "mysite").mkdir()
    (tmp_path / "mysite/wsgi.py").touch()
    (tmp_path / "manage.py").write_text(line.format("mysite.settings"))
    assert find_app(str(tmp_path)) == "mysite.wsgi"


def test_it_may_stand_above_settings_that_are_a_package(tmp_path: Path) -> None:
    (tmp_path / "config/settings").mkdir(parents=True)
    (tmp_path / "config/wsgi.py").touch()
    (tmp_path / "manage.py").write_text(MANAGE.format("config.settings.local"))
    assert find_app(str(tmp_path)) == "config.wsgi"


@pytest.mark.parametrize("text", ["print('mine')\n", MANAGE.format("mysite.settings")])
def test_a_manage_that_leads_nowhere_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "manage.py").write_text(text)
    assert find_app(str(tmp_path)) == ""


def test_it_is_looked_for_where_the_workers_will_be_and_only_if_none_is_named(
    tmp_path: Path,
) -> None:
    (tmp_path / "wsgi.py").touch()
    elsewhere = ["--chdir", str(tmp_path)]
    loaded = config.load(config.parse(elsewhere, {}), {})
    assert loaded.settings.app == "wsgi"
    assert loaded.origins["app"] == f"found in {tmp_path}"
    assert config.load(config.parse(["mine", *elsewhere], {}), {}).settings.app == "mine"
