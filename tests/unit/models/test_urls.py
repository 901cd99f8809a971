"""URLs are read alike by every library, or refused without a word of what may be a password."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path
from urllib.parse import quote, unquote

import httpx
import pika
import pytest
from kombu import Connection
from pydantic import ValidationError
from sqlalchemy import make_url

from colm.db.connection import parse
from colm.models.engine_settings import EngineSettings
from colm.models.errors import SettingsError
from colm.models.urls import broker, check_http, check_postgresql, redact
from colm.tasks.config.settings import Settings, load
from colm.workers.rabbitmq.management_api import Management, management_of, virtual_host

#: The URL of each setting that holds a password, with that password left out.
LOGINS = {
    "broker": "amqp://colm:{}@127.0.0.1:5672/colm",
    "database": "postgresql+psycopg2://colm:{}@127.0.0.1:5432/colm",
    "management": "http://colm:{}@127.0.0.1:15672",
    "images.url": "https://colm:{}@127.0.0.1:7780",
    "clients.ada.engine.base_url": "https://colm:{}@127.0.0.1/v1",
}


def read(setting: str, url: str, folder: Path) -> Settings:
    variable = "COLM_" + setting.replace(".", "__").upper()
    return load({variable: url, "COLM_HOME": str(folder)}, folder)


@pytest.mark.parametrize("setting", LOGINS)
@pytest.mark.parametrize(
    ("password", "advice"),
    [
        ("sec/ret", "/ as %2F"),
        ("sec#ret", "# as %23"),
        ("sec?ret", "? as %3F"),
        ("sec[ret", "[ as %5B"),
        ("sec]ret", "] as %5D"),
        ("sec[r]et", "as %5"),
        ("sec@ret", "@ as %40"),
        ("sec%ret", "% as %25"),
        ("5672/ret", "/ as %2F"),
        ("5672#ret", "# as %23"),
        ("sec/r@et", "as %"),
        ("s@ec/ret", "as %"),
        ("sec?password=ret", "? as %3F"),
        ("sec%ffret", "not in UTF-8"),
        ("sec\nret", "line break"),
    ],
)
def test_an_unescaped_password_is_refused_by_its_character_and_not_shown(
    setting: str, password: str, advice: str, tmp_path: Path
) -> None:
    url = LOGINS[setting].format(password)
    with pytest.raises(SettingsError, match=f"{setting}: ") as caught:
        read(setting, url, tmp_path)
    told = str(caught.value)
    assert advice in told
    assert "\n" not in told
    told = told.replace("percent-encode", "")
    assert not [part for part in ("sec", "ret", "5672") if part in told]


@pytest.mark.parametrize("setting", LOGINS)
@pytest.mark.parametrize("host", ["127.0.0.1:99999", "127.0.0.1:0", "127.0.0.1:notaport", "::1"])
def test_a_port_that_is_none_is_one_line(setting: str, host: str, tmp_path: Path) -> None:
    scheme = LOGINS[setting].partition("://")[0]
    with pytest.raises(
        SettingsError, match=r"port is not a number from 1 to 65535|one port"
    ) as caught:
        read(setting, f"{scheme}://colm:secret@{host}/x", tmp_path)
    assert "secret" not in str(caught.value)


#: Every character of ASCII that can be printed, and others.
PASSWORD = "".join(map(chr, range(33, 127))) + " üß€"


def test_an_escaped_password_arrives_whole_wherever_it_is_used(tmp_path: Path) -> None:
    found = read("broker", LOGINS["broker"].format(quote(PASSWORD, safe="")), tmp_path)
    assert pika.URLParameters(found.broker_url).credentials.password == PASSWORD
    assert Connection(found.broker_url).password == PASSWORD
    target = parse(LOGINS["database"].format(quote(PASSWORD, safe="")))
    assert target.password == PASSWORD
    with Management(LOGINS["management"].format(quote(PASSWORD, safe="")), "colm") as api:
        assert api._api.auth is not None
        (sent,) = api._api.auth.auth_flow(httpx.Request("GET", "http://host"))
    scheme, _, login = sent.headers["authorization"].partition(" ")
    assert (scheme, b64decode(login).decode()) == ("Basic", f"colm:{PASSWORD}")


@pytest.mark.parametrize("password", ["a:b", "a;b", "a,b", "a b", "ü", "a&b=c", "a+b", "a!$'()*~"])
def test_what_needs_no_escape_is_read_alike_by_every_library(password: str) -> None:
    url = Settings(broker=LOGINS["broker"].format(password)).broker_url
    assert pika.URLParameters(url).credentials.password == password
    assert Connection(url).password == password
    assert Connection(url).alt == []
    assert parse(LOGINS["database"].format(password)).password == password


@pytest.mark.parametrize(
    ("path", "virtual_host_"),
    [
        ("", "/"), ("/", "/"), ("//", "/"), ("/%2F", "/"), ("/%2f", "/"), ("/colm", "colm"),
        ("//team/a", "/team/a"), ("/team/a", "team/a"), ("/%2Ft%2F%C3%A4%20b%231", "/t/ä b#1"),
        ("/a;b", "a;b"), ("/a%40b", "a@b"), ("/ä", "ä"),
    ],
)  # fmt: skip
def test_a_virtual_host_has_one_name_for_everybody(path: str, virtual_host_: str) -> None:
    url = Settings(broker=f"amqp://colm:pw@host{path}").broker_url
    assert pika.URLParameters(url).virtual_host == virtual_host_
    assert Connection(url).virtual_host == virtual_host_
    assert virtual_host(url) == virtual_host_
    assert broker(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "amqp://colm:first-pw@mq1:5672/colm;amqp://colm:second-pw@mq2:5672/colm",
        "amqp://colm:first-pw@mq1/colm,amqp://colm:second-pw@mq2/colm",
        "amqp://mq1/colm;amqp://mq2/colm",
        "amqp://colm:first-pw@mq1:5672,mq2:5672/colm",
        "amqp://colm:first-pw@mq1;mq2/colm",
        "failover://(amqp://colm:first-pw@mq1/colm,amqp://colm:second-pw@mq2/colm)",
    ],
)
def test_several_brokers_in_one_url_are_refused_without_a_password(
    url: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="broker: ") as caught:
        read("broker", url, tmp_path)
    assert "-pw" not in str(caught.value)
    assert "several brokers" in str(caught.value)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("amqp://colm@host/x", "a user without a password"),
        ("amqp://:secret@host/x", "a password without its user"),
        ("amqp://colm:secret@host/x?foo=1", "no parameters but heartbeat"),
        ("amqp://colm:secret@host/x?heartbeat=often", "no parameters but heartbeat"),
        ("amqp://colm:secret@host/x?ssl_options={}", "no parameters but heartbeat"),
        ("amqp://colm:secret@host/x#y", "an unescaped #"),
        ("amqp://colm:secret@host/x@y", "an unescaped @ behind its host"),
        ("amqp://colm:secret@host/%zz", "% in its virtual host"),
        ("amqp://colm:secret@host/x ", "a space before or after it"),
    ],
)
def test_what_the_libraries_would_read_differently_is_refused(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        broker(url)
    assert "secret" not in str(caught.value)


def test_a_heartbeat_in_the_brokers_url_is_read_by_both_libraries() -> None:
    url = broker("amqp://colm:pw@host/x?heartbeat=10")
    assert pika.URLParameters(url).heartbeat == 10
    assert Connection(url).heartbeat == 10


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("schema=x", "'schema'.*options=-csearch_path%3DNAME"),
        ("pgbouncer=true", "'pgbouncer'.*CoLM needs no parameter"),
        ("foo=bar", "libpq does not have: 'foo'"),
        ("sslmod=require", "libpq does not have: 'sslmod'"),
        ("connect_timeout=abc", "'connect_timeout' is not an integer"),
        ("keepalives_idle=1.5", "'keepalives_idle' is not an integer"),
        ("connect_timeout=", "'connect_timeout' is not an integer"),
        ("sslmode=on", "'sslmode' is none of: disable, allow"),
        ("target_session_attrs=master", "'target_session_attrs' is none of: any, read-write"),
        ("client_encoding=latin1", "client_encoding must be utf8"),
        ("options=-ca%3D1&options=-cb%3D2", "'options' is given twice"),
        ("se-cret=1", "its name is invalid"),
    ],
)
def test_a_parameter_of_the_database_that_would_be_dropped_or_break_is_refused_by_name(
    query: str, reason: str, tmp_path: Path
) -> None:
    url = f"postgresql+psycopg2://colm:secret@host/colm?{query}"
    with pytest.raises(SettingsError, match=f"database: .*{reason}") as caught:
        read("database", url, tmp_path)
    assert "secret" not in str(caught.value)
    with pytest.raises(SettingsError, match=reason):
        parse(url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg2:///colm?host=/var/run/postgresql&user=me@tenant",
        "postgresql+psycopg2://u:p@/colm?host=a:5432&host=b:5433&target_session_attrs=read-write",
        "postgresql+psycopg2://u:p@h/colm?sslmode=verify-full&sslrootcert=/etc/colm/ca.pem",
        "postgresql+psycopg2://u:p@h/colm?connect_timeout=3&application_name=x&options=-ca%3Db",
        "postgresql+psycopg2://%C3%BC%40ser:p%40ss%3Aw%2Frd%25%3F%23%5B@[::1]:5432/a%20b",
        "postgresql+psycopg2://h1,h2/colm",
        "postgresql+psycopg2://h/colm?client_encoding=UTF-8",
    ],
)
def test_what_libpq_takes_is_taken(url: str) -> None:
    assert check_postgresql(url) == url
    make_url(url)


@pytest.mark.parametrize("url", ["https://host/%40team/v1", "http://[::1]:8000/v1", "http://host"])
def test_an_endpoint_without_a_login_may_have_any_path(url: str) -> None:
    assert check_http(url) == url


@pytest.mark.parametrize(
    "url", ["http://", "http:///v1", "http://colm:secret@/v1", "http://[::1/x"]
)
def test_an_endpoint_without_a_host_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="host") as caught:
        EngineSettings(kind="openai", base_url=url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://u:se/cret@h", "http://u:se#cret@h", "http://u:p@h:port"])
def test_a_management_api_named_on_the_command_line_is_checked_too(url: str) -> None:
    with pytest.raises(SettingsError, match="management") as caught:
        management_of(Settings(broker="amqp://host/x"), url)
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize("url", [u.format("sec/r@et") for u in LOGINS.values()])
def test_whatever_is_wrong_with_a_url_it_is_shown_without_its_password(url: str) -> None:
    assert "sec" not in redact(url).replace("secure", "")
    assert unquote(redact(url)).count("***") == 1
