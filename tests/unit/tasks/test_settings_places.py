"""Where colm.toml, home, cache and all other files of a site are, whatever they are called."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from kombu import Connection
from sqlalchemy import make_url

from colm.models.errors import SettingsError
from colm.tasks.config.paths import MAX_SOCKET_PATH_BYTES, broker_socket, make_home
from colm.tasks.config.settings import Settings, load, remove_service_links
from colm.tasks.config.sources import from_environment
from tests.unit.conftest import SetEnvironment
from tests.unit.db.test_sqlite_file import AWKWARD, umask

__all__ = ["umask"]  # a fixture


def site(folder: Path, toml: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "colm.toml").write_text(toml)
    return folder / "colm.toml"


RELATIVE = """
home = "state"
cache = "../models"
database = "sqlite:///rec%20ord.sqlite?timeout=5"
[tls]
ca = "ca.pem"
[audit]
key = "keys/audit.key"
[images]
secret_file = "secret"
"""


@pytest.mark.parametrize("where", ["named", "here"])
def test_a_relative_path_in_the_file_is_relative_to_it(tmp_path: Path, where: str) -> None:
    path, elsewhere = site(tmp_path / "site", RELATIVE), tmp_path / "elsewhere"
    elsewhere.mkdir()
    if where == "here":
        found = load({}, path.parent)
    else:
        found = load({"COLM_CONFIG": str(path)}, elsewhere)
    folder = str(path.parent)
    assert found.home == path.parent / "state"
    assert found.cache == path.parent / "../models"
    assert make_url(found.database_url).database == f"{folder}/rec ord.sqlite"
    assert found.database_url.endswith("?timeout=5")
    assert found.tls.ca == f"{folder}/ca.pem"
    assert found.audit.key == f"{folder}/keys/audit.key"
    assert found.images.secret_file == f"{folder}/secret"


def test_a_relative_path_in_a_variable_is_relative_to_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = site(tmp_path / "site", RELATIVE)
    monkeypatch.chdir(tmp_path)
    variables = {"COLM_HOME": "mine", "COLM_DATABASE": "sqlite:///mine.sqlite", "COLM_TLS__CA": "a"}
    found = load({"COLM_CONFIG": "site/colm.toml", **variables}, tmp_path)
    assert found.home == tmp_path / "mine"
    assert found.database_url == f"sqlite:///{tmp_path}/mine.sqlite"
    assert found.tls.ca == f"{tmp_path}/a"
    assert found.cache == path.parent / "../models"


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:///rec.sqlite", "{here}/rec.sqlite"),
        ("sqlite:///a/../rec.sqlite", "{here}/a/../rec.sqlite"),
        ("sqlite:///~/rec.sqlite", "{home}/rec.sqlite"),
        ("sqlite:///50%25.sqlite", "{here}/50%.sqlite"),
        ("sqlite:///what%3F.sqlite", "{here}/what?.sqlite"),
        ("sqlite:////abs/50%25.sqlite", "/abs/50%.sqlite"),
        ("sqlite:///file:rec.sqlite?mode=ro&uri=true", "file:{here}/rec.sqlite"),
        ("sqlite:///file:/rec.sqlite?immutable=1&uri=true", "file:/rec.sqlite"),
        ("sqlite:///:memory:", ":memory:"),
    ],
)
def test_a_sqlite_url_names_one_file_wherever_it_is_read(url: str, file: str) -> None:
    wanted = file.format(here=Path.cwd(), home=Path.home())
    assert make_url(Settings(database=url).database_url).database == wanted


@pytest.mark.parametrize(
    "url", ["sqlite:////x/what?/r.sqlite", "sqlite:////x?", "sqlite:///a?b&c=d", "sqlite:///?/x"]
)
def test_a_question_mark_in_the_path_of_a_sqlite_url_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsError, match=r"database: .*write a \? in a path as %3F"):
        load({"COLM_DATABASE": url}, tmp_path)


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ("timeout=soon", "timeout is no number"),
        ("foo=1", "'foo' is no parameter of SQLite; valid"),
    ],
)
def test_a_parameter_that_sqlite_does_not_know_is_refused(
    tmp_path: Path, parameters: str, complaint: str
) -> None:
    with pytest.raises(SettingsError, match=f"database: {complaint}"):
        load({"COLM_DATABASE": f"sqlite:////x?{parameters}"}, tmp_path)


@pytest.mark.parametrize("name", AWKWARD)
def test_any_folder_can_be_home(tmp_path: Path, name: str) -> None:
    home = tmp_path / name
    found = load({"COLM_HOME": str(home)}, tmp_path)
    assert found.home == home
    assert make_url(found.database_url).database == f"{home}/record.sqlite"
    path = found.broker_url.removeprefix("redis+socket://").partition("?")[0]
    assert unquote(path) == str(broker_socket(home))
    assert len(os.fsencode(broker_socket(home))) <= MAX_SOCKET_PATH_BYTES
    # As kombu's transport reads it.
    assert unquote(str(Connection(found.broker_url).hostname)).startswith(f"socket://{path[:5]}")


def test_a_socket_that_would_be_too_deep_lies_in_a_private_folder_of_its_own(
    tmp_path: Path,
) -> None:
    deep, other = (tmp_path / (letter * 99) / "home" for letter in "ab")
    sockets = {broker_socket(deep), broker_socket(other)}
    assert len(sockets) == 2
    assert broker_socket(deep) == broker_socket(deep)
    for path in sockets:
        assert path.is_relative_to("/tmp")


@pytest.mark.parametrize(("mode", "owner"), [(0o755, None), (0o700, 12345), (0o600, 12345)])
def test_a_socket_is_not_looked_for_in_a_folder_that_another_user_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, owner: int | None
) -> None:
    deep = tmp_path / ("x" * 99)
    folder = broker_socket(deep).parent
    folder.mkdir()
    folder.chmod(mode)
    try:
        if owner is not None:
            monkeypatch.setattr(Path, "lstat", lambda _: Owned(mode, owner))
        with pytest.raises(SettingsError, match="is not private to this user"):
            broker_socket(deep)
    finally:
        folder.rmdir()


class Owned:
    """What lstat says of a folder."""

    def __init__(self, mode: int, owner: int) -> None:
        self.st_mode, self.st_uid = 0o040000 | mode, owner


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777], indirect=True)
@pytest.mark.usefixtures("umask")
def test_a_new_home_is_closed_to_others_and_one_that_is_there_stays_as_it_is(
    tmp_path: Path,
) -> None:
    make_home(tmp_path / "new")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    (tmp_path / "new").chmod(0o750)
    make_home(tmp_path / "new")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o750


def test_a_home_that_cannot_be_written_is_told_of_with_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"cannot be made: .*; set COLM_HOME to a folder"):
        make_home(tmp_path / "file" / "home")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(SettingsError, match=r"cannot be written by this user; set COLM_HOME"):
        make_home(tmp_path)


def test_the_xdg_variables_give_the_default_folders(tmp_path: Path) -> None:
    variables = {"XDG_STATE_HOME": "/xdg/state", "XDG_CACHE_HOME": "/xdg/cache"}
    found = load(variables, tmp_path)
    assert (found.home, found.cache) == (Path("/xdg/state/colm"), Path("/xdg/cache/colm"))
    found = load({**variables, "COLM_HOME": "/mine"}, tmp_path)
    assert (found.home, found.cache) == (Path("/mine"), Path("/xdg/cache/colm"))
    site(tmp_path, "cache = '/said'")
    assert load(variables, tmp_path).cache == Path("/said")


@pytest.mark.parametrize("said", ["", "relative/folder", "~"])
def test_an_xdg_variable_that_is_no_absolute_path_does_not_count(tmp_path: Path, said: str) -> None:
    found = load({"XDG_STATE_HOME": said, "XDG_CACHE_HOME": said}, tmp_path)
    assert (found.home, found.cache) == (Settings().home, Settings().cache)


def test_the_users_own_file_counts_where_the_current_folder_has_none(tmp_path: Path) -> None:
    site(tmp_path / "config" / "colm", "coordinator_threads = 5\nhome = 'h'")
    site(tmp_path / "user" / ".config" / "colm", "coordinator_threads = 6")
    site(tmp_path / "here", "coordinator_threads = 7")
    variables = {"HOME": str(tmp_path / "user")}
    assert load(variables, tmp_path).coordinator_threads == 6
    variables["XDG_CONFIG_HOME"] = str(tmp_path / "config")
    found = load(variables, tmp_path)
    assert (found.coordinator_threads, found.home) == (5, tmp_path / "config" / "colm" / "h")
    assert load(variables, tmp_path / "here").coordinator_threads == 7
    assert load({**variables, "HOME": "", "XDG_CONFIG_HOME": ""}, tmp_path).coordinator_threads == 4


def test_a_model_that_lies_beside_the_file_is_found_from_anywhere(tmp_path: Path) -> None:
    path = site(tmp_path / "site", "[clients.ada.engine]\nmodel = 'models/small'\n"
                "[clients.bo.engine]\nmodel = 'hub/small'\n")  # fmt: skip
    (tmp_path / "site" / "models" / "small").mkdir(parents=True)
    found = load({"COLM_CONFIG": str(path)}, tmp_path).clients
    assert found["ada"].engine.model == str(tmp_path / "site" / "models" / "small")
    assert found["bo"].engine.model == "hub/small"


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without HOME and without an entry in the table of users."""
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)


@pytest.mark.usefixtures("homeless")
@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({}, ["home", "set HOME, or COLM_HOME to a", "cache", "set HOME, or COLM_CACHE to a"]),
        ({"COLM_HOME": "/x"}, ["cache", "COLM_CACHE"]),
        ({"COLM_CACHE": "/x", "COLM_HOME": "~"}, ["home", "COLM_HOME"]),
        ({"COLM_CACHE": "/x", "COLM_HOME": "/x", "COLM_DATABASE": "sqlite:///~/x"}, ["set HOME"]),
        ({"COLM_CACHE": "/x", "COLM_HOME": "/x", "COLM_AUDIT__KEY": "~/key"}, ["set HOME"]),
        ({"COLM_CACHE": "/x", "COLM_HOME": "/x", "COLM_TLS__CA": "~/ca"}, ["set HOME"]),
        ({"COLM_CACHE": "/x", "COLM_HOME": "/x", "COLM_CONFIG": "~/c"}, ["no home folder"]),
    ],
)
def test_without_a_home_folder_what_to_set_is_said(
    tmp_path: Path, variables: dict[str, str], told: list[str]
) -> None:
    with pytest.raises(SettingsError) as caught:
        load(variables, tmp_path)
    for words in told:
        assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("homeless")
def test_without_a_home_folder_other_folders_will_do(tmp_path: Path) -> None:
    assert load({"COLM_HOME": "/h", "COLM_CACHE": "/c"}, tmp_path).home == Path("/h")
    found = load({"XDG_STATE_HOME": "/s", "XDG_CACHE_HOME": "/c"}, tmp_path)
    assert found.home == Path("/s/colm")


def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = site(tmp_path, "")

    def refuse(*_: Any, **__: Any) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(SettingsError, match=f"{path} cannot be read: Permission denied"):
        load({}, tmp_path)


LINKS = {
    "SERVICE_HOST": "127.0.0.1",
    "SERVICE_PORT": "5672",
    "SERVICE_PORT_AMQP": "5672",
    "SERVICE_PORT_HTTP_METRICS": "15692",
    "PORT": "tcp://127.0.0.1:5672",
    "PORT_5672_TCP": "tcp://127.0.0.1:5672",
    "PORT_5672_TCP_PROTO": "tcp",
    "PORT_5672_TCP_PORT": "5672",
    "PORT_5672_TCP_ADDR": "127.0.0.1",
    "PORT_53_UDP": "udp://127.0.0.1:53",
    "PORT_53_UDP_ADDR": "fd00::7",
    "PORT_9_SCTP_PROTO": "sctp",
}


@pytest.mark.parametrize(
    "service", ["COLM", "COLM_BROKER", "COLM_DATABASE", "COLM_CLIENTS", "COLM_IMAGES_SERVER"]
)
def test_the_variables_of_a_service_are_left_alone(tmp_path: Path, service: str) -> None:
    links = {f"{service}_{end}": value for end, value in LINKS.items()}
    assert load(links, tmp_path) == load({}, tmp_path)
    assert load({f"{service}_PORT": "udp://[fd00::7]:53"}, tmp_path) == load({}, tmp_path)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("COLM_PORT", "5672"), ("COLM_PORT", "http://127.0.0.1"), ("COLM_SERVICE", "x"),
        ("COLM_SERVICE_HOSTS", "x"), ("COLM_BROKER_HOST", "127.0.0.1"), ("COLM_PORT_TCP", "x"),
        ("COLM_PORT_5672", "x"), ("COLM_PORT_5672_TCP_HOST", "x"), ("COLM_BROKR", "tcp://x"),
    ],
)  # fmt: skip
def test_a_variable_that_only_looks_a_little_like_it_stays_an_error(
    tmp_path: Path, variable: str, value: str
) -> None:
    with pytest.raises(SettingsError, match=rf"variable {variable}\)"):
        load({variable: value}, tmp_path)


def test_a_setting_goes_before_a_service_of_its_name_unless_it_is_given_an_address() -> None:
    variables = {"COLM_X_SERVICE_HOST": "127.0.0.1", "COLM_X_PORT": "tcp://127.0.0.1:80"}
    assert from_environment(variables, lambda _: True) == {"x_service_host": "127.0.0.1"}
    assert from_environment(variables, lambda _: False) == {}
    assert from_environment({"COLM_X_PORT": "80"}, lambda _: True) == {"x_port": "80"}


def test_flower_is_not_told_of_a_service_that_is_called_flower(
    environment: SetEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment()
    for end, value in LINKS.items():
        monkeypatch.setenv(f"FLOWER_{end}", value)
    monkeypatch.setenv("FLOWER_URL_PREFIX", "tasks")
    monkeypatch.setenv("OTHER_SERVICE_HOST", "127.0.0.1")
    remove_service_links("FLOWER_")
    assert [name for name in os.environ if name.startswith("FLOWER_")] == ["FLOWER_URL_PREFIX"]
    assert os.environ["OTHER_SERVICE_HOST"] == "127.0.0.1"
