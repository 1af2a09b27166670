"""Where values come from, which one wins, and what is said of one that can't be used."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
import tomli
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st

from prefork import config
from prefork.config import Config, key_toml, value_toml
from prefork.errors import UsageError
from prefork.settings import TABLE, Setting, Settings

# For each type three values, in TOML and as the text that variables and flags have.
_SAMPLES: dict[Any, list[tuple[Any, str]]] = {
    str: [("alpha", "alpha"), ("beta", "beta"), ("gamma", "gamma")],
    bool: [(True, "true"), (False, "false"), (True, "1")],
    int: [(100, "100"), (200, "200"), (300, "300")],
    float: [(1.5, "1.5"), (2.25, "2.25"), (3, "3")],
    list: [(["a", "b"], "a,b"), (["c"], "c"), (["d", "e"], "d, e")],
    dict: [({"A": "1"}, "A=1"), ({"B": "2", "C": "3"}, "B=2,C=3"), ({"D": "=4"}, "D==4")],
}


@dataclass(frozen=True)
class Sample:
    """A value of a setting, and how each source spells it."""

    row: Setting
    value: Any
    text: str

    @property
    def toml(self) -> str:
        if isinstance(self.value, dict):
            lines = [f"{key_toml(key)} = {value_toml(item)}" for key, item in self.value.items()]
            return "\n".join([f"[{self.row.name}]", *lines]) + "\n"
        return f"{self.row.name} = {value_toml(self.value)}\n"

    @property
    def variable(self) -> dict[str, str]:
        return {self.row.variable: self.text}

    @property
    def arguments(self) -> list[str]:
        flag = self.row.flags[-1]
        if self.row.name == "app":
            return [self.text]
        if isinstance(self.value, bool):
            return [flag if self.value else flag.replace("--", "--no-", 1)]
        if isinstance(self.value, dict) and self.row.option.parse is None:
            return [part for item in self.text.split(",") for part in (flag, item)]
        if isinstance(self.value, list):
            return [part for item in self.value for part in (flag, item)]
        return [flag, self.text]


_PARSED: dict[str, list[tuple[Any, str]]] = {
    "umask": [(0o22, "22"), (0o77, "077"), (0o7, "7")],
    "max_memory": [(512 << 20, "512M"), (2 << 30, "2g"), (4096, "4K")],
    "log": [
        ({"version": 1}, '{"version": 1}'),
        (
            {"root": {"handlers": ["a", "b"], "x y": 1.5}},
            '{"root":{"handlers":["a","b"],"x y":1.5}}',
        ),
        ({"a": {"b": [{"c": True}]}, "d": ""}, '{"a": {"b": [{"c": true}]}, "d": ""}'),
    ],
    "ready_path": [(path, path) for path in ("/ready", "/healthz?deep=1", "/")],
}


def samples(row: Setting) -> list[Sample]:
    """Three values of the row's type, where it has so many."""
    if row.choices:
        return [Sample(row, choice, choice) for choice in (row.choices * 3)[:3]]
    found = _PARSED[row.name] if row.option.parse is not None else _SAMPLES[_plain_type(row)]
    return [Sample(row, value, text) for value, text in found]


def _plain_type(row: Setting) -> Any:
    """int of `Annotated[Annotated[int, ...] | Literal["auto"], ...]`, and so on."""
    bare = get_args(row.type)[0]
    while bare not in _SAMPLES:
        bare = get_origin(bare) if get_origin(bare) in _SAMPLES else get_args(bare)[0]
    return bare


Load = Callable[..., Config]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads settings: `load("workers = 2", {"PREFORK_APP": "a:b"}, ["-w", "3"])`."""

    def from_sources(
        toml: str | bytes | None = None,
        environ: Mapping[str, str] | None = None,
        arguments: list[str] | None = None,
    ) -> Config:
        given = list(arguments or [])
        if toml is not None:
            path = tmp_path / "conf.toml"
            path.write_bytes(toml if isinstance(toml, bytes) else toml.encode())
            given += ["-c", str(path)]
        return config.load(config.parse(given, environ or {}), environ or {})

    return from_sources


def _from(load: Load, sources: Mapping[str, Sample]) -> Config:
    """Load with a sample from each of the sources "toml", "variable" and "flag"."""
    return load(
        sources["toml"].toml if "toml" in sources else None,
        sources["variable"].variable if "variable" in sources else {},
        sources["flag"].arguments if "flag" in sources else [],
    )


def _origin(source: str, row: Setting) -> str:
    flag = "APP" if row.name == "app" else row.flags[-1]
    return {"toml": r"\S+/conf.toml:1", "variable": rf"\${row.variable}", "flag": flag}[source]


rows = pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)


# Sources.


def test_without_any_source_every_setting_has_its_default(load: Load) -> None:
    loaded = load()
    assert loaded.settings == Settings()
    assert loaded.origins == {}


@rows
@pytest.mark.parametrize("source", ["toml", "variable", "flag"])
def test_every_setting_can_be_given_by_every_source(load: Load, row: Setting, source: str) -> None:
    for sample in samples(row):
        loaded = _from(load, {source: sample})
        assert getattr(loaded.settings, row.name) == sample.value
        assert re.fullmatch(_origin(source, row), loaded.origins[row.name])
        assert set(loaded.origins) == {row.name}


@rows
@pytest.mark.parametrize(
    ("loser", "winner"), list(combinations(["toml", "variable", "flag"], 2)), ids="-".join
)
def test_the_command_line_beats_the_environment_which_beats_the_file(
    load: Load, row: Setting, loser: str, winner: str
) -> None:
    first, second, _ = samples(row)
    for lost, won in ((first, second), (second, first)):
        loaded = _from(load, {loser: lost, winner: won})
        assert getattr(loaded.settings, row.name) == won.value
        assert re.fullmatch(_origin(winner, row), loaded.origins[row.name])


@pytest.mark.parametrize(
    ("platform", "name", "value", "other"),
    [
        ({"PORT": "5000"}, "bind", ["0.0.0.0:5000"], ["127.0.0.1:7000"]),
        ({"WEB_CONCURRENCY": "3"}, "workers", 3, 5),
        ({"WEB_CONCURRENCY": "auto"}, "workers", "auto", 5),
    ],
)
def test_the_platforms_variable_beats_only_the_default(
    load: Load, platform: dict[str, str], name: str, value: Any, other: Any
) -> None:
    loaded = load(environ=platform)
    assert getattr(loaded.settings, name) == value
    assert loaded.origins == {name: f"${next(iter(platform))}"}
    text = other[0] if isinstance(other, list) else str(other)
    row = TABLE[name]
    for toml, variables, arguments in (
        (f"{name} = {value_toml(other)}", {}, []),
        (None, {row.variable: text}, []),
        (None, {}, [row.flags[-1], text]),
    ):
        beaten = load(toml, {**platform, **variables}, arguments)
        assert getattr(beaten.settings, name) == other


@pytest.mark.parametrize("name", ["PORT", "WEB_CONCURRENCY"])
def test_an_empty_variable_of_the_platform_counts_as_unset(load: Load, name: str) -> None:
    assert load(environ={name: ""}).settings == Settings()


def test_a_variable_can_name_the_file_and_the_flag_beats_it(load: Load, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text("workers = 7\n")
    assert load(environ={"PREFORK_CONFIG": str(other)}).settings.workers == 7
    assert load("workers = 2", {"PREFORK_CONFIG": str(other)}).settings.workers == 2


@pytest.mark.parametrize(
    ("toml", "arguments"), [("graceful_timeout = 7", []), (None, ["--graceful-timeout", "7"])]
)
def test_graceful_timeout_is_another_name_of_kill_timeout(
    load: Load, toml: str | None, arguments: list[str]
) -> None:
    assert load(toml, arguments=arguments).settings.kill_timeout == 7


def test_a_setting_under_both_its_names_is_a_mistake(load: Load) -> None:
    with pytest.raises(UsageError, match=r"conf\.toml:2: graceful_timeout .* kill_timeout"):
        load("kill_timeout = 1\ngraceful_timeout = 2\n")


@pytest.mark.parametrize(
    ("toml", "value"),
    [
        ('bind = "127.0.0.1:1"', ["127.0.0.1:1"]),
        ('bind = "127.0.0.1:1, unix:/tmp/s"', ["127.0.0.1:1", "unix:/tmp/s"]),
        ('bind = ["127.0.0.1:1", "unix:/tmp/s"]', ["127.0.0.1:1", "unix:/tmp/s"]),
    ],
)
def test_a_list_may_be_written_as_a_string_in_the_file(
    load: Load, toml: str, value: list[str]
) -> None:
    assert load(toml).settings.bind == value


def test_a_flag_of_directories_may_name_several_at_once_and_be_repeated(load: Load) -> None:
    loaded = load(arguments=["--pythonpath", "lib,vendor", "--pythonpath", "more"])
    assert loaded.settings.pythonpath == ["lib", "vendor", "more"]


def test_a_value_of_env_on_the_command_line_may_hold_commas_and_equals_signs(load: Load) -> None:
    loaded = load(arguments=["-e", "HOSTS=a,b", "-e", "QUERY=c=d", "-e", "EMPTY="])
    assert loaded.settings.env == {"HOSTS": "a,b", "QUERY": "c=d", "EMPTY": ""}


def test_a_umask_is_octal_as_text_and_a_number_in_the_file(load: Load) -> None:
    assert load('umask = "027"').settings.umask == 0o27
    assert load("umask = 0o27").settings.umask == 0o27
    assert load(environ={"PREFORK_UMASK": "027"}).settings.umask == 0o27
    assert load(arguments=["-m", "027"]).settings.umask == 0o27


# Printed settings.


@rows
def test_printed_settings_name_the_origin_of_each(load: Load, row: Setting) -> None:
    for sample in samples(row):
        printed = _from(load, {"variable": sample}).as_toml()
        (line,) = re.findall(rf"^\[?{row.name}\b.*", printed, re.M)
        assert line.endswith(f"# ${row.variable}")
    (line,) = re.findall(rf"^(?:# |\[)?{row.name}\b.*", load().as_toml(), re.M)
    assert line.endswith("# default")


_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
_STRATEGIES: dict[Any, st.SearchStrategy[Any]] = {
    str: _TEXT,
    bool: st.booleans(),
    int: st.integers(64, 400),
    float: st.floats(0.001, 1e9),
    list: st.lists(_TEXT, min_size=1, max_size=3),
    dict: st.dictionaries(_TEXT.filter(bool), _TEXT, max_size=3),
}


def _values(row: Setting) -> st.SearchStrategy[Any]:
    if row.choices:
        return st.sampled_from(row.choices)
    return _STRATEGIES[_plain_type(row)]


@given(values=st.fixed_dictionaries({name: _values(row) for name, row in TABLE.items()}))
@profile(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_printed_settings_are_a_file_that_gives_the_same_settings(
    load: Load, values: dict[str, Any]
) -> None:
    printed = Config(Settings(**values), {}).as_toml()
    assert {key: tomli.loads(printed)[key] for key in values} == values


def test_printed_defaults_are_a_file_that_gives_the_defaults(load: Load) -> None:
    printed = load().as_toml()
    assert load(printed).settings == Settings()


# Mistakes: one message, which begins with where the mistake is.

MISTAKES = {
    "unknown key": ("\nwrokers = 3", r":2: unknown setting 'wrokers' \(did you mean 'workers'\?\)"),
    "nothing like it": ("zzz = 3", r":1: unknown setting 'zzz'"),
    "unknown table": ("workers = 2\n[mad]\na = 1", r":2: unknown setting 'mad'"),
    "wrong type": ("# one\n# two\nbacklog = 'many'", r":3: backlog = "),
    "text for a number": ('keepalive = "5"', r':1: keepalive = "5": '),
    "number for text": ("app = 5", r":1: app = 5: "),
    "number for a switch": ("wait_ready = 1", r":1: wait_ready = 1: "),
    "switch for a number": ("workers = true", r":1: workers = true: "),
    "table for a number": ("[workers]\na = 1", r":1: workers = "),
    "number among texts": ("bind = [1]", r":1: bind = \[1\]: "),
    "number in a table of texts": ("[env]\nA = 1", r":1: env = "),
    "fraction": ("workers = 2.5", r":1: workers = 2.5: "),
    "too small": ("workers = 0", r":1: workers = 0: .*1"),
    "too large": ("workers = 401", r":1: workers = 401: .*400"),
    "negative": ("kill_timeout = -1", r":1: kill_timeout = -1: .*0"),
    "none at all": ("listen_timeout = 0", r":1: listen_timeout = 0: .*0"),
    "not a number": ("keepalive = nan", r":1: keepalive = (?i:nan): "),
    "endless": ("keepalive = inf", r":1: keepalive = (?i:inf\w*): "),
    "unknown word": ("log_level = 'loud'", r":1: log_level = \S+: expected 'debug' or 'info'"),
    "empty": ("bind = []", r":1: bind = \[\]: "),
    "date": ("workers = 2020-01-31", r":1: workers = 2020-01-31: "),
    "pair without a value": ("env = ['A']", r":1: env = .*: expected KEY=VALUE"),
    "size that is none": ("max_memory = '2 GB'", r":1: max_memory = .*512M or 2G"),
    "path that is none": ("ready_path = 'healthz'", r":1: ready_path = .*begins with /"),
    "path with a space": ("ready_path = '/a b'", r":1: ready_path = .*%20"),
    "umask that is not octal": ("umask = '9'", r":1: umask = .*octal"),
    "statement": ("workers = 2\nbind\n", r":2: "),
    "unclosed list": ("app = 'a:b'\nworkers = [", r":2: "),
    "key twice": ("workers = 2\nworkers = 3\n", r":2: "),
    "not UTF-8": (b"app = '\xff'", r":?1?: not UTF-8"),
}


@pytest.mark.parametrize(("toml", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_in_the_file_is_told_in_one_line_with_file_and_line(
    load: Load, tmp_path: Path, toml: str | bytes, message: str
) -> None:
    with pytest.raises(UsageError) as raised:
        load(toml)
    text = str(raised.value)
    assert re.match(re.escape(str(tmp_path / "conf.toml")) + message, text), text
    assert "\n" not in text
    assert raised.value.exit_code == 2


# Every kind of value that TOML has.
LITERALS = [
    *("1979-05-27", "07:32:00", "1979-05-27T07:32:00Z", "true", "0", "-1", "2.5", "1e300"),
    *("inf", "-inf", "nan", "99999999999999999999", '""', '"a"', "'²'", "[]", "[[1]]", "[1, 'a']"),
    *("[1979-05-27]", "{}", "{ a = 1 }", "{ a = 1979-05-27 }", "{ a = { b = [] } }"),
]


@pytest.mark.parametrize("literal", LITERALS)
def test_whatever_value_a_setting_is_given_it_is_taken_or_refused(load: Load, literal: str) -> None:
    for name in TABLE:
        try:
            loaded = load(f"{name} = {literal}")
        except UsageError as error:
            assert re.search(rf"conf\.toml:1: {name} = ", str(error))
        else:
            tomli.loads(loaded.as_toml())


@pytest.mark.parametrize(
    "toml",
    [
        'app = """\nwrong = 1\n"""\nwrong = 1\n',
        "env.A = '1'\nenv.B = '2'\n\n'wrong' = 1\n",
        "bind = [\n  'a:1',\n  # wrong = 1\n]\n\"wr\\u006fng\" = 1\n".replace("'a:1',\n", "'a:1',"),
        "# one\r\n# two\r\n# three\r\nwrong = 1\r\n",
        "# what some editors\u2028call a line,\u0085the others don't\n\n\nwrong = 1\n",
    ],
    ids=["after a multi-line string", "after dotted keys", "quoted", "CRLF", "odd separators"],
)
def test_the_line_of_a_key_is_the_one_that_an_editor_shows(load: Load, toml: str) -> None:
    with pytest.raises(UsageError, match=r"conf\.toml:4: unknown setting 'wrong'"):
        load(toml)


@pytest.mark.parametrize(
    ("environ", "arguments", "message"),
    [
        ({"PORT": "http"}, [], r"\$PORT = 'http': "),
        ({"PORT": "65536"}, [], r"\$PORT = '65536': "),
        ({"PORT": "-1"}, [], r"\$PORT = '-1': "),
        ({"PORT": "²"}, [], r"\$PORT = '²': "),
        ({"WEB_CONCURRENCY": "many"}, [], r"\$WEB_CONCURRENCY: workers = many: "),
        ({"WEB_CONCURRENCY": "0"}, [], r"\$WEB_CONCURRENCY: workers = 0: "),
        ({"PREFORK_WORKERS": "0"}, [], r"\$PREFORK_WORKERS: workers = 0: "),
        ({"PREFORK_WAIT_READY": "perhaps"}, [], r"\$PREFORK_WAIT_READY: wait_ready = perhaps: "),
        ({"PREFORK_ENV": "A"}, [], r"\$PREFORK_ENV: env = A: expected KEY=VALUE"),
        ({"PREFORK_KEEPALIVE": "nan"}, [], r"\$PREFORK_KEEPALIVE: keepalive = nan: "),
        ({}, ["-w", "0"], r"--workers: workers = 0: "),
        ({}, ["--keep-alive", "soon"], r"--keep-alive: keepalive = soon: "),
        ({}, ["-k", "eventlet"], r"--worker-class: worker_class = eventlet: expected 'sync'"),
        ({}, ["-m", "rw"], r"--umask: umask = rw: .*octal"),
        ({}, ["-e", "A"], r"--env: env = .*: expected KEY=VALUE"),
    ],
)
def test_a_mistake_elsewhere_is_told_with_the_variable_or_the_flag(
    load: Load, environ: dict[str, str], arguments: list[str], message: str
) -> None:
    with pytest.raises(UsageError) as raised:
        load(environ=environ, arguments=arguments)
    assert re.match(message, str(raised.value)), str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "why"), [("absent.toml", "No such file"), ("directory", "Is a directory")]
)
def test_a_file_that_cannot_be_read_is_named(
    load: Load, tmp_path: Path, name: str, why: str
) -> None:
    (tmp_path / "directory").mkdir()
    path = tmp_path / name
    with pytest.raises(UsageError, match=rf"^{re.escape(str(path))}: {why}"):
        load(arguments=["-c", str(path)])


def test_what_begins_with_tls_may_stand_in_a_table(load: Load) -> None:
    loaded = load('workers = 2\n[tls]\ncertificate = "a.pem"\n[tls.hosts]\n"b.example" = "b.pem"\n')
    assert loaded.settings.tls_certificate == "a.pem"
    assert loaded.settings.tls_hosts == {"b.example": "b.pem"}
    assert loaded.origins["tls_certificate"].endswith("conf.toml:3")


def test_what_is_set_in_a_table_and_outside_of_it_is_refused(load: Load) -> None:
    with pytest.raises(UsageError, match=r"tls_key is also set as key in \[tls\]"):
        load('tls_key = "a.pem"\n[tls]\nkey = "b.pem"\n')
