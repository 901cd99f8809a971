"""URLs of services: checked before any library reads them, and as they may be shown.

The libraries that connect read an unescaped `/`, `#`, `?`, `[` or `@` in a password each in its own
way: as the end of the password, the port, or the virtual host. So such a URL is refused. No
complaint quotes any part of a URL, for that part may be a password.
"""

from __future__ import annotations

import re
from typing import Annotated, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, unquote_plus

from pydantic import AfterValidator, Field

#: Whole numbers among libpq's parameters, and those that take one of a few words.
_NUMBERS = (
    "connect_timeout keepalives keepalives_idle keepalives_interval keepalives_count "
    "tcp_user_timeout port"
)
_WORDS = {
    "sslmode": "disable allow prefer require verify-ca verify-full",
    "sslnegotiation": "postgres direct",
    "target_session_attrs": "any read-write read-only primary standby prefer-standby",
    "gssencmode": "disable prefer require",
    "channel_binding": "disable prefer require",
    "load_balance_hosts": "disable random",
    "sslcertmode": "disable allow require",
    "sslsni": "0 1",
    "sslcompression": "0 1",
}
#: What libpq 15 to 18 take in a connection string.
_TEXTS = (
    "application_name client_encoding dbname fallback_application_name gssdelegation gsslib host "
    "hostaddr krbsrvname max_protocol_version min_protocol_version oauth_client_id "
    "oauth_client_secret oauth_issuer oauth_scope options passfile password replication "
    "require_auth requirepeer scram_client_key scram_server_key service servicefile sslcert sslcrl "
    "sslcrldir sslkey sslkeylogfile sslpassword sslrootcert ssl_max_protocol_version "
    "ssl_min_protocol_version user"
)
POSTGRESQL_PARAMETERS = frozenset([*_NUMBERS.split(), *_WORDS, *_TEXTS.split()])
#: SQLAlchemy takes several of these, one for each server.
_SEVERAL = frozenset({"host", "port"})
#: Of other programs, with the parameter that does it here.
_MEANT = {
    "schema": "options=-csearch_path%3DNAME",
    "currentschema": "options=-csearch_path%3DNAME",
    "search_path": "options=-csearch_path%3DNAME",
    "ssl": "sslmode=require",
    "timeout": "connect_timeout=SECONDS",
    "pgbouncer": "nothing: CoLM needs no parameter for it",
}
_CALLED = {"/": "%2F", "#": "%23", "?": "%3F", "[": "%5B", "]": "%5D", "@": "%40", "%": "%25"}


_ONE_BROKER = (
    "it names several brokers, and CoLM takes one: give one address that leads to every node of "
    "the cluster (a load balancer, or a name in DNS), and write ; and , in a password as %3B, %2C"
)
_ALL_ESCAPED = "/ is written %2F, ? %3F, # %23, [ %5B, @ %40, % %25"


class Parts(NamedTuple):
    """A URL cut at its first `/`, `?` or `#`, as libraries cut it."""

    scheme: str
    #: User and password as written, without the `@`; None where there is no `@`.
    login: str | None
    host: str
    port: int | None
    #: Everything from the cut on.
    tail: str


_SECRET = re.compile(
    r"pass|pwd|secret|token|(^|[^a-z])(key|sig)|key$|auth|cookie|credential|signature",
    re.IGNORECASE,
)


def is_secret(name: str) -> bool:
    """Whether a parameter or a header of that name holds what nobody else may see."""
    return _SECRET.search(name) is not None


def shown(url: str) -> str:
    """The URL without any password, in its login or among its parameters."""
    bare = re.sub(r"([?&])([^=&?]+)=[^&]*", _without_secret, url)
    if "@" in url and "@" not in bare:  # hidden with the end of the login: better too much
        return re.sub(r"^([^:]+://[^:/@?]*):.*", r"\1:***", bare)
    return re.sub(r"^([^:]+://[^:/@]*):.*@", r"\1:***@", bare)


def broker(url: str) -> str:
    """An AMQP URL in the one form that every library reads alike. Raises ValueError.

    Its path is the name of the virtual host, whatever that holds; none is `/`.
    """
    if re.search(r"^failover:|[;,]\s*[a-z][\w+.-]*://|://([^/?#]*@)?[^/?#@]*[;,][^@]*$", url):
        raise ValueError(_ONE_BROKER)
    parts = split(url)
    path, mark, query = parts.tail.partition("?")
    _no_fragment(parts.tail)
    _no_at(parts, path)
    _escapes("virtual host", path)
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name != "heartbeat" or not value.isdecimal():
            raise ValueError(
                "it takes no parameters but heartbeat, in whole seconds: TLS is set in [tls]"
                + (", and ? in a password is written %3F" if parts.login is None else "")
            )
    login = "" if parts.login is None else f"{_login(parts.login)}@"
    port = "" if parts.port is None else f":{parts.port}"
    virtual_host = quote(unquote(path.removeprefix("/")) or "/", safe="")
    return f"{parts.scheme}://{login}{parts.host}{port}/{virtual_host}{mark}{query}"


def check_http(url: str) -> str:
    """Raises ValueError for an http:// or https:// URL that cannot be used."""
    parts = split(url)
    if not parts.host:
        raise ValueError("it names no host")
    _no_fragment(parts.tail)
    _no_at(parts, parts.tail)
    return url


def check_postgresql(url: str) -> str:
    """Raises ValueError for a PostgreSQL URL that SQLAlchemy or libpq could not use."""
    parts = split(url)
    path, _, query = parts.tail.partition("?")
    named = parse_qsl(query, keep_blank_values=True)
    known = all(name in POSTGRESQL_PARAMETERS for name, _ in named)
    _no_at(parts, path if known else parts.tail)
    _no_fragment(path)
    for name, value in named:
        _check_parameter(name, value)
    names = [name for name, _ in named if name not in _SEVERAL]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"its parameter {twice[0]!r} is given twice")
    return url


def _broker(url: str) -> str:
    return broker(url) if not url.startswith("redis") else url


def _database(url: str) -> str:
    return check_postgresql(url) if url.startswith("postgresql") else url


#: Settings' URLs; that of a broker is kept in the form in which every library reads it alike.
BrokerUrl = Annotated[
    str, Field(pattern=r"^(amqps?|redis\+socket|failover)://"), AfterValidator(_broker)
]
DatabaseUrl = Annotated[
    str, Field(pattern=r"^(postgresql\+psycopg2|sqlite)://"), AfterValidator(_database)
]
HttpUrl = Annotated[str, Field(pattern=r"^https?://"), AfterValidator(check_http)]


def split(url: str) -> Parts:
    """The parts of a URL whose login is escaped as it has to be. Raises ValueError."""
    if re.search(r"[\x00-\x1f\x7f]|^\s|\s$", url):
        raise ValueError("it has a line break, or a space before or after it: take that out")
    scheme, _, rest = url.partition("://")
    cut = re.search(r"[/?#]", rest)
    authority, tail = (rest[: cut.start()], rest[cut.start() :]) if cut else (rest, "")
    login, at, host = authority.rpartition("@")
    if at:
        for character in "[]@":
            if character in login:
                raise ValueError(_escaped(character))
        _escapes("user or password", login)
    name, port = _host(host, _escaped(tail[0]) if "@" in tail else "")
    return Parts(scheme, login if at else None, name, port, tail)


def _host(host: str, why: str) -> tuple[str, int | None]:
    """Host and port; `why` says what else could be wrong where they are none."""
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+(?:%[\w.%-]+)?\]|[^\[\]:]*)(?::([^:]*))?", host)
    if why and (found is None or (found[2] and not found[2].isdecimal())):
        raise ValueError(why)
    if found is None:
        raise ValueError(
            "its host cannot be read: an IPv6 address stands in [ ], one port follows a colon, and "
            f"in a password {_ALL_ESCAPED}"
        )
    name, port = found[1], found[2]
    if not port:
        return name, None
    if not (port.isascii() and port.isdecimal() and 1 <= int(port) <= 65_535):
        raise ValueError(
            f"its port is no number from 1 to 65535; in a password {_ALL_ESCAPED}, and several "
            "servers of PostgreSQL are written ?host=a:5432&host=b:5432"
        )
    return name, int(port)


def _escaped(character: str) -> str:
    return (
        f"an unescaped {character} in its user or password: percent-encode {character} as "
        f"{_CALLED[character]} there ({_ALL_ESCAPED})"
    )


def _no_at(parts: Parts, path: str) -> None:
    """An @ behind the host: the end of the login, or a name's own. Nobody can tell which."""
    if "@" not in path:
        return
    if parts.login is None:
        raise ValueError(_escaped(parts.tail[0]))
    raise ValueError(
        f"an unescaped @ behind its host: percent-encode @ as %40 (in a password {_ALL_ESCAPED})"
    )


def _no_fragment(tail: str) -> None:
    if "#" in tail:
        raise ValueError("an unescaped #: percent-encode # as %23")


def _escapes(where: str, text: str) -> None:
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise ValueError(f"a % in its {where} that begins no escape: percent-encode % as %25")
    try:
        unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError(f"its {where} is percent-encoded, but not in UTF-8") from None


def _login(login: str) -> str:
    user, _, password = login.partition(":")
    if not user or not password:
        raise ValueError("it names a user without a password, or a password without its user")
    return f"{quote(unquote(user), safe='')}:{quote(unquote(password), safe='')}"


def _check_parameter(name: str, value: str) -> None:
    if name not in POSTGRESQL_PARAMETERS:
        meant = _MEANT.get(name.lower())
        hint = f"; for what {name!r} means elsewhere use {meant}" if meant else ""
        raise ValueError(
            f"it has a parameter that PostgreSQL's clients do not know: {_name(name)}{hint}"
        )
    if name in _NUMBERS.split() and not re.fullmatch(r"-?\d+", value):
        raise ValueError(f"its parameter {name!r} is no whole number")
    if name in _WORDS and value not in _WORDS[name].split():
        raise ValueError(f"its parameter {name!r} is none of: {', '.join(_WORDS[name].split())}")
    if name == "client_encoding" and value.lower().replace("-", "") != "utf8":
        raise ValueError("its client_encoding is not utf8, in which CoLM talks to the database")


def _name(name: str) -> str:
    """A parameter's name as it may be shown; one that looks like no name may be anything."""
    return repr(name) if re.fullmatch(r"[A-Za-z]\w{0,39}", name) else "its name is no name"


def _without_secret(parameter: re.Match[str]) -> str:
    mark, key = parameter[1], parameter[2]
    return f"{mark}{key}=***" if is_secret(unquote_plus(key)) else parameter[0]
