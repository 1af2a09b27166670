"""Coming from gunicorn: each of its settings and flags has an equal, or a reason why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tomli
from gunicorn.config import KNOWN_SETTINGS

from prefork import config
from prefork.errors import UsageError
from prefork.gunicorn import EQUALS, FLAGS, WITHOUT, Loss
from prefork.hooks import HOOKS, IMPOSSIBLE
from prefork.importing import translate
from prefork.settings import TABLE, Settings
from reference import gunicorn_page

known = pytest.mark.parametrize("setting", KNOWN_SETTINGS, ids=lambda setting: setting.name)


def translated(directory: Path, program: str) -> tuple[Settings, str]:
    """What a configuration of gunicorn becomes: settings, as prefork reads them, and TOML."""
    path = directory / "gunicorn.conf.py"
    path.write_text(program)
    text = translate(str(path)).as_toml()
    toml = directory / "prefork.toml"
    toml.write_text(text)
    return config.load(config.parse(["-c", str(toml)], {}), {}).settings, text


@known
def test_each_setting_is_translated_or_explained(setting: Any) -> None:
    assert sum(setting.name in table for table in (EQUALS, WITHOUT, HOOKS, IMPOSSIBLE)) == 1


@known
def test_each_flag_is_known_or_explained(setting: Any) -> None:
    ours = {flag for action in config.parser()._actions for flag in action.option_strings}
    assert set(setting.cli or ()) <= ours


def test_what_is_translated_to_is_a_setting() -> None:
    assert {equal.name for equal in EQUALS.values()} <= set(TABLE)


@pytest.mark.parametrize("name", EQUALS)
def test_the_page_tells_of_a_default_that_differs(name: str) -> None:
    (theirs,) = (setting.default for setting in KNOWN_SETTINGS if setting.name == name)
    equal = EQUALS[name]
    ours = TABLE[equal.name].default
    # What is not set there has no value of ours, and the directory is where both are started.
    same = theirs is None or name == "chdir" or equal.translate(theirs) == ours
    assert same or name in gunicorn_page.NOTES


def test_the_page_has_each_setting_and_hook() -> None:
    page = gunicorn_page.page()
    assert set(gunicorn_page.NOTES) <= set(EQUALS)
    for name in (*EQUALS, *WITHOUT, *IMPOSSIBLE):
        assert f"\n| `{name}` |" in page
    for name in HOOKS:
        assert f"\n| `{name}(" in page


def test_a_usual_configuration_is_translated(tmp_path: Path) -> None:
    settings, text = translated(
        tmp_path,
        """
import multiprocessing
bind = ["0.0.0.0:8000", "unix:/tmp/app.sock"]
workers = multiprocessing.cpu_count() * 2 + 1
worker_class = "gthread"
threads = 4
accesslog = "-"
loglevel = "INFO"
raw_env = ["DJANGO_SETTINGS_MODULE=mysite.settings", "A=b=c"]
forwarded_allow_ips = "10.0.0.1, 10.0.0.2"
graceful_timeout = 20
preload_app = True
user = 1000
cert_reqs = 2
daemon = False
something_of_their_own = object()
""",
    )
    assert settings.bind == ["0.0.0.0:8000", "unix:/tmp/app.sock"]
    assert settings.worker_class == "threads"
    assert settings.threads == 4
    assert settings.access_log == "-"
    assert settings.log_level == "info"
    assert settings.env == {"DJANGO_SETTINGS_MODULE": "mysite.settings", "A": "b=c"}
    assert settings.forwarded_allow_ips == ["10.0.0.1", "10.0.0.2"]
    assert settings.kill_timeout == 20
    assert settings.preload
    assert settings.user == "1000"
    assert settings.tls_verify == "required"
    assert 'workers was computed: "auto" counts' in text
    assert "daemon" not in text


def test_hooks_are_called_where_they_are(tmp_path: Path) -> None:
    settings, text = translated(
        tmp_path, "def post_fork(server, worker): pass\ndef pre_fork(server, worker): pass\n"
    )
    assert settings.hooks == {"post_fork": f"{tmp_path}/gunicorn.conf.py:post_fork"}
    assert "# pre_fork has no equal: the master runs no code of others" in text


def test_numbers_that_are_text_are_numbers(tmp_path: Path) -> None:
    """As they come from the environment, in the configuration that Heroku suggests."""
    settings, _ = translated(tmp_path, "workers = '2'\ntimeout = '20'\npreload_app = 'true'\n")
    assert (settings.workers, settings.timeout, settings.preload) == (2, 20, True)


@pytest.mark.parametrize(
    ("program", "remark"),
    [
        ("daemon = True", "daemon has no equal: it stays in the foreground"),
        ("worker_tmp_dir = '/dev/shm'", "worker_tmp_dir is not needed: workers show"),
        ("worker_class = 'uvicorn.workers.UvicornWorker'", "uvicorn.workers.UvicornWorker: there"),
        ("limit_request_line = 0", "limit_request_line = 0 has no equal"),
        ("cert_reqs = 7", "cert_reqs = 7 makes no sense."),
        ("workers = 'many'", "workers = 'many' makes no sense."),
    ],
)
def test_what_is_not_translated_is_told_with_the_reason(
    tmp_path: Path, program: str, remark: str
) -> None:
    settings, text = translated(tmp_path, program)
    assert remark in text
    assert settings == Settings()
    assert tomli.loads(text) == {}


def test_a_module_can_be_named_as_gunicorn_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "their_configuration.py").write_text("workers = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert translate("python:their_configuration").settings == {"workers": 3}


@pytest.mark.parametrize(
    ("program", "why"),
    [("1 / 0", "ZeroDivisionError: division by zero"), ("bind = (", "SyntaxError: .* line 1")],
)
def test_a_configuration_that_fails_is_refused(tmp_path: Path, program: str, why: str) -> None:
    with pytest.raises(UsageError, match=rf"gunicorn\.conf\.py: {why}"):
        translated(tmp_path, program)


def test_one_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match=r"nowhere\.py: No such file"):
        translate("nowhere.py")


def test_its_file_given_as_ours_is_refused_with_a_hint(tmp_path: Path) -> None:
    path = tmp_path / "gunicorn.conf.py"
    path.write_text("def post_fork(server, worker): pass\n")
    with pytest.raises(UsageError, match="--import-gunicorn makes TOML of it"):
        config.load(config.parse(["-c", str(path)], {}), {})


@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.spelled[-1])
def test_a_flag_without_which_nothing_is_lost_is_accepted(
    flag: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [flag.spelled[-1], *(["value"] if flag.valued else []), "module:app"]
    if flag.loss is Loss.NOTHING:
        namespace = config.parse(arguments, {})
        assert namespace.APP == "module:app"
        assert namespace.ignored == [f"{flag.spelled[-1]} is not needed: {flag.why}"]
    else:
        with pytest.raises(SystemExit):
            config.parse(arguments, {})
        assert f"{flag.spelled[-1]} has no equal: {flag.why}" in capsys.readouterr().err
