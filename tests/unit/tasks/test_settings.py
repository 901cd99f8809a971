"""colm.toml and COLM_* variables: read whole, merged by value, refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from colm.models.errors import SettingsError
from colm.models.messages import Deadlines, Sampling
from colm.models.urls import redact
from colm.tasks.broker.capabilities import EMBEDDED, broker_of
from colm.tasks.config.settings import (
    ParticipantSettings,
    Settings,
    environment_with,
    load,
    override,
    secret,
    settings,
)
from tests.unit.conftest import SetEnvironment


def read(folder: Path, toml: str = "", **variables: str) -> Settings:
    """Settings from a file and COLM_* variables, given without their prefix."""
    if toml:
        (folder / "colm.toml").write_text(toml)
    found = {f"COLM_{name}": value for name, value in variables.items()}
    return load({"COLM_HOME": str(folder / "home"), **found}, folder)


def test_without_a_file_the_defaults_are_three_clients_and_one_server(tmp_path: Path) -> None:
    found = read(tmp_path)
    assert list(found.clients) == ["ada", "bo", "cy"]
    assert list(found.servers) == ["main"]
    assert broker_of(found) is EMBEDDED
    assert found.deadlines == Deadlines()
    assert found.broker_url.startswith("redis+socket:///")
    assert found.database_url.startswith("sqlite:////")


def test_a_variable_goes_before_the_file_and_the_file_before_the_defaults(tmp_path: Path) -> None:
    toml = "[deadlines]\ndraft = 5\nrefine = 6\n"
    found = read(tmp_path, toml, DEADLINES__DRAFT="7.5")
    assert (found.deadlines.draft, found.deadlines.refine) == (7.5, 6.0)
    assert found.deadlines.synthesize == Deadlines().synthesize


def test_a_variable_changes_one_value_of_a_default_participant(tmp_path: Path) -> None:
    found = read(tmp_path, CLIENTS__ADA__DOMAIN="chess", SERVERS__MAIN__ENGINE__MODEL="/models/x")
    plain = read(tmp_path)
    assert found.clients["ada"] == plain.clients["ada"].model_copy(update={"domain": "chess"})
    assert found.clients["bo"] == plain.clients["bo"]
    assert found.servers["main"].engine.model == "/models/x"
    assert found.servers["main"].sampling == Sampling(temperature=0.3)


def test_a_file_that_names_clients_names_all_of_them(tmp_path: Path) -> None:
    found = read(tmp_path, "[clients.zoe]\ndomain = 'cooking'\n", CLIENTS__ZOE__PERSONA="A cook.")
    assert found.clients == {"zoe": ParticipantSettings(domain="cooking", persona="A cook.")}
    assert list(found.servers) == ["main"]


def test_the_roster_carries_names_roles_sampling_and_the_strategies_defaults(
    tmp_path: Path,
) -> None:
    roster = read(tmp_path, "[strategies.colm]\nrounds = 1\n").roster
    assert {p.role for p in roster.clients.values()} == {"client"}
    assert roster.servers["main"].role == "server"
    assert roster.servers["main"].sampling.temperature == 0.3
    assert roster.defaults == {"colm": {"rounds": 1}}


def test_an_empty_variable_is_one_that_is_not_set(tmp_path: Path) -> None:
    found = read(tmp_path, BROKER="", DEADLINES__DRAFT="", NO_SUCH_THING="")
    assert found.broker is None
    assert found.deadlines == Deadlines()


def test_the_test_suites_variables_are_not_settings(tmp_path: Path) -> None:
    assert read(tmp_path, TEST_BROKER_URL="amqp://host").broker is None


def test_variables_of_others_are_not_read(tmp_path: Path) -> None:
    assert load({"BROKER": "amqp://host", "colm_broker": "amqp://host"}, tmp_path).broker is None


@pytest.mark.parametrize(
    ("toml", "variables", "complaint"),
    [
        ("brokr = 'amqp://host'", {}, r"unknown key 'brokr' .*; did you mean 'broker'\?"),
        ("", {"BROKR": "amqp://host"}, r"variable COLM_BROKR\); did you mean 'broker'\?"),
        ("", {"DEADLINE__DRAFT": "1"}, "variable COLM_DEADLINE.*; did you mean 'deadlines'"),
        ("[deadlines]\ndraught = 1", {}, "unknown key 'deadlines.draught'.*mean 'draft'"),
        ("[clients.ada]\npersonna = 'x'", {}, "unknown key 'clients.ada.personna'.*'persona'"),
        ("[clients.ada.sampling]\ntemprature = 1", {}, "ada.sampling.temprature'.*'temperature'"),
        ("", {"SERVERS__MAIN__ENGINE__MODLE": "x"}, "COLM_SERVERS__MAIN__ENGINE__MODLE.*'model'"),
        ("[limits]\nqueue_lenght = 1", {}, "did you mean 'queue_length'"),
        ("[strategies.clom]", {}, "unknown strategy 'clom'; did you mean 'colm'"),
        ("[strategies.colm]\nround = 1", {}, "no option 'round'; did you mean 'rounds'"),
        ("", {"STRATEGIES__COLM__ROUNDS": "99"}, "'colm' cannot use rounds"),
        ("[clients.'Big Bob']", {}, r"clients.Big Bob.*String should match pattern"),
        ("[deadlines]\ndraft = -1", {}, "deadlines.draft: .* greater than 0"),
        ("deadlines = 3", {}, "deadlines: "),
        ("", {"CLIENTS": "ada,bo"}, "clients: Input should be a valid dictionary"),
        ("", {"COORDINATOR_THREADS": "many"}, "coordinator_threads: .* valid integer"),
        ("broker = 'http://host'", {}, "broker: String should match pattern"),
        ("database = 'postgresql://host'", {}, "database: String should match pattern"),
        ("[servers.main.engine]\nkind = 'openai'", {}, "base_url is needed"),
        ("[clients.main]\n[servers.main]", {}, "'main' is both a client and a server"),
        (
            "[clients.rotate]",
            {},
            "'rotate' is a subcommand of 'colm client' and no name; rename it",
        ),
        ("[servers.add]", {}, "'add' is a subcommand of 'colm client' and no name; rename it"),
        ("[tls]\nkey = 'x.key'", {}, "tls: a key without its certificate"),
        ("management = 'amqp://h'", {}, "management: String should match pattern"),
    ],
)
def test_a_mistake_is_refused_by_name_with_the_nearest_valid_one(
    tmp_path: Path, toml: str, variables: dict[str, str], complaint: str
) -> None:
    with pytest.raises(SettingsError, match=complaint):
        read(tmp_path, toml, **variables)


def test_every_mistake_is_told_at_once_and_where_it_was_read(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, "brokr = 1\n[deadlines]\ndraft = 0\n", DATABSE="x")
    for part in ("colm.toml and COLM_* variables", "'brokr'", "'databse'", "deadlines.draft"):
        assert part in str(caught.value)


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"colm\.toml is not valid TOML: .*line 1"):
        read(tmp_path, "broker = no quotes\n")
    (tmp_path / "colm.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="not valid TOML"):
        read(tmp_path)


def test_colm_config_names_the_file_and_its_absence_is_an_error(tmp_path: Path) -> None:
    elsewhere = tmp_path / "site.toml"
    elsewhere.write_text("coordinator_threads = 9")
    (tmp_path / "colm.toml").write_text("coordinator_threads = 1")
    assert read(tmp_path, CONFIG=str(elsewhere)).coordinator_threads == 9
    with pytest.raises(SettingsError, match=r"COLM_CONFIG names .*gone\.toml, which is not a file"):
        read(tmp_path, CONFIG=str(tmp_path / "gone.toml"))


PASSWORD = "pa55-w0rd"


@pytest.mark.parametrize(
    "variables",
    [
        {"BROKER": f"ampq://colm:{PASSWORD}@host/"},
        {"DATABASE": f"mysql://colm:{PASSWORD}@host/"},
        {"BROKER": f"amqp://colm:{PASSWORD}@host/", "DEADLINES__DRAFT": "x"},
        {"SERVERS__MAIN__ENGINE__BASE_URL": f"ftp://colm:{PASSWORD}@host/"},
        {"SERVERS__MAIN__ENGINE__API_KEY_ENV": f"sk-{PASSWORD}"},
    ],
)
def test_an_error_never_shows_a_password(tmp_path: Path, variables: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, **variables)
    assert PASSWORD not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("password", ["p", "p/a#ss", "p:?x", "p@x", "***"])
def test_a_database_is_shown_without_its_password(password: str) -> None:
    url = f"postgresql+psycopg2://user:{password}@host:5432/db"
    assert redact(url) == "postgresql+psycopg2://user:***@host:5432/db"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg2://user@host/db?password=SECRET",
        "postgresql+psycopg2://user@host/db?sslmode=require&password=SECRET&user=1",
        "postgresql+psycopg2://user:SECRET@host/db?password=SECRET",
        "postgresql+psycopg2://host:5432/db?user=x&pass%77ord=SECRET",
        "postgresql+psycopg2://user:p@host/db?password=a@SECRET",
        "postgresql+psycopg2://user:p@host/db?sslpassword=SECRET",
    ],
)
def test_a_password_among_the_parameters_is_not_shown_either(url: str) -> None:
    found = Settings(database=url)
    assert "SECRET" not in found.shown_database
    assert found.shown_database.startswith("postgresql+psycopg2://")
    assert "SECRET" not in repr(found)


@pytest.mark.parametrize(
    "fields",
    [
        {"broker": "amqp://user:SECRET@host/x"},
        {"management": "http://user:SECRET@host:15672"},
        {"images": {"url": "http://user:SECRET@host"}},
        {"servers": {"main": {"engine": {"kind": "openai", "base_url": "http://u:SECRET@h/v1"}}}},
    ],
)
def test_no_settings_show_a_password_when_they_are_printed(fields: dict[str, Any]) -> None:
    found = Settings.model_validate(fields)
    assert "SECRET" not in repr(found) + str(found)


@pytest.mark.parametrize(
    "url",
    ["sqlite:////data/a:b@c.db", "postgresql+psycopg2://host:5432/db", "sqlite:////x.db"],
)
def test_a_database_without_a_password_is_shown_as_it_is(url: str) -> None:
    assert Settings(database=url).shown_database == url


def test_the_default_folders_are_the_users_own() -> None:
    found = Settings()
    assert found.home == Path.home() / ".local/state/colm"
    assert found.cache == Path.home() / ".cache/colm"


def test_the_settings_of_a_process_are_read_once(environment: SetEnvironment) -> None:
    environment(COLM_COORDINATOR_THREADS="7")
    assert settings() is settings()
    assert settings().coordinator_threads == 7


def test_the_command_line_goes_before_the_environment(environment: SetEnvironment) -> None:
    environment(COLM_BROKER="amqp://host/one", COLM_DATABASE="sqlite:////one")
    override(broker="amqp://host/two", database=None)
    assert (settings().broker, settings().database) == ("amqp://host/two", "sqlite:////one")
    override(broker=None, database="sqlite:////two")
    assert (settings().broker, settings().database) == ("amqp://host/two", "sqlite:////two")


def test_a_secret_is_asked_for_by_name_and_its_absence_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-1")
    assert secret("SOME_KEY") == "sk-1"
    for value in (None, ""):
        monkeypatch.setenv("SOME_KEY", value) if value == "" else monkeypatch.delenv("SOME_KEY")
        with pytest.raises(SettingsError, match="SOME_KEY is not set"):
            secret("SOME_KEY")


def test_a_childs_environment_is_ours_with_changes(environment: SetEnvironment) -> None:
    environment(COLM_BROKER="amqp://host/one")
    child: dict[str, Any] = environment_with(COLM_BROKER="amqp://host/two", COLM_DATABASE="x")
    assert (child["COLM_BROKER"], child["COLM_DATABASE"]) == ("amqp://host/two", "x")
    assert "PATH" in child
