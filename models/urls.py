"""Validation and redaction of service URLs.

Libraries disagree on an unescaped `/`, `#`, `?`, `[` or `@` in a password, so such URLs are
rejected. Error messages never quote a part of a URL: it may be a password.
"""

from __future__ import annotations

import re
from typing import Annotated, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, unquote_plus

from pydantic import AfterValidator, Field

#: libpq's connection parameters (15 to 18): integers, enumerations, texts.
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
_TEXTS = (
    "application_name client_encoding dbname fallback_application_name gssdelegation gsslib host "
    "hostaddr krbsrvname max_protocol_version min_protocol_version oauth_client_id "
    "oauth_client_secret oauth_issuer oauth_scope options passfile password replication "
    "require_auth requirepeer scram_client_key scram_server_key service servicefile sslcert sslcrl "
    "sslcrldir sslkey sslkeylogfile sslpassword sslrootcert ssl_max_protocol_version "
    "ssl_min_protocol_version user"
)
POSTGRESQL_PARAMETERS = frozenset([*_NUMBERS.split(), *_WORDS, *_TEXTS.split()])
#: Parameters that SQLAlchemy accepts once for each server.
_REPEATABLE = frozenset({"host", "port"})
#: Parameters of other programs, with libpq's equivalent.
_EQUIVALENTS = {
    "schema": "options=-csearch_path%3DNAME",
    "currentschema": "options=-csearch_path%3DNAME",
    "search_path": "options=-csearch_path%3DNAME",
    "ssl": "sslmode=require",
    "timeout": "connect_timeout=SECONDS",
    "pgbouncer": "nothing: CoLM needs no parameter for it",
}
_ESCAPES = {"/": "%2F", "#": "%23", "?": "%3F", "[": "%5B", "]": "%5D", "@": "%40", "%": "%25"}

_ONE_BROKER = (
    "it names several brokers, and CoLM takes one: give one address that leads to every node of "
    "the cluster (a load balancer, or a name in DNS), and write ; and , in a password as %3B, %2C"
)
_ALL_ESCAPED = "/ is written %2F, ? %3F, # %23, [ %5B, @ %40, % %25"


class Parts(NamedTuple):
    """A URL split at its first `/`, `?` or `#`."""

    scheme: str
    #: User and password as written, without the `@`; None without `@`.
    login: str | None
    host: str
    port: int | None
    #: Path, query and fragment.
    tail: str


_SECRET = re.compile(
    r"pass|pwd|secret|token|(^|[^a-z])(key|sig)|key$|auth|cookie|credential|signature",
    re.IGNORECASE,
)


def is_secret(name: str) -> bool:
    return _SECRET.search(name) is not None


def redact(url: str) -> str:
    """`url` with `***` for passwords in the login and the parameters."""
    redacted = re.sub(r"([?&])([^=&?]+)=[^&]*", _redact_parameter, url)
    if "@" in url and "@" not in redacted:  # the end of the login was redacted too
        return re.sub(r"^([^:]+://[^:/@?]*):.*", r"\1:***", redacted)
    return re.sub(r"^([^:]+://[^:/@]*):.*@", r"\1:***@", redacted)


def broker(url: str) -> str:
    """A canonical AMQP URL, with an escaped virtual host (default `/`). Raises ValueError."""
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
    """Raises ValueError for an invalid http:// or https:// URL."""
    parts = split(url)
    if not parts.host:
        raise ValueError("it names no host")
    _no_fragment(parts.tail)
    _no_at(parts, parts.tail)
    return url


def check_postgresql(url: str) -> str:
    """Raises ValueError for a PostgreSQL URL that SQLAlchemy or libpq would reject."""
    parts = split(url)
    path, _, query = parts.tail.partition("?")
    parameters = parse_qsl(query, keep_blank_values=True)
    valid = all(name in POSTGRESQL_PARAMETERS for name, _ in parameters)
    _no_at(parts, path if valid else parts.tail)
    _no_fragment(path)
    for name, value in parameters:
        _check_parameter(name, value)
    names = [name for name, _ in parameters if name not in _REPEATABLE]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"its parameter {twice[0]!r} is given twice")
    return url


def _broker(url: str) -> str:
    return broker(url) if not url.startswith("redis") else url


def _database(url: str) -> str:
    return check_postgresql(url) if url.startswith("postgresql") else url


#: URL types of the settings; a broker URL is stored in its canonical form.
BrokerUrl = Annotated[
    str, Field(pattern=r"^(amqps?|redis\+socket|failover)://"), AfterValidator(_broker)
]
DatabaseUrl = Annotated[
    str, Field(pattern=r"^(postgresql\+psycopg2|sqlite)://"), AfterValidator(_database)
]
HttpUrl = Annotated[str, Field(pattern=r"^https?://"), AfterValidator(check_http)]


def split(url: str) -> Parts:
    """The parts of a URL. Raises ValueError if its login is not escaped correctly."""
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
    """Host and port. `why` replaces the error message if not empty."""
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+(?:%[\w.%-]+)?\]|[^\[\]:]*)(?::([^:]*))?", host)
    if why and (match is None or (match[2] and not match[2].isdecimal())):
        raise ValueError(why)
    if match is None:
        raise ValueError(
            "its host cannot be read: an IPv6 address stands in [ ], one port follows a colon, and "
            f"in a password {_ALL_ESCAPED}"
        )
    name, port = match[1], match[2]
    if not port:
        return name, None
    if not (port.isascii() and port.isdecimal() and 1 <= int(port) <= 65_535):
        raise ValueError(
            f"its port is not a number from 1 to 65535; in a password {_ALL_ESCAPED}, and several "
            "servers of PostgreSQL are written ?host=a:5432&host=b:5432"
        )
    return name, int(port)


def _escaped(character: str) -> str:
    return (
        f"an unescaped {character} in its user or password: percent-encode {character} as "
        f"{_ESCAPES[character]} there ({_ALL_ESCAPED})"
    )


def _no_at(parts: Parts, path: str) -> None:
    """Reject an @ after the host: it is ambiguous, the end of the login or part of a name."""
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
        equivalent = _EQUIVALENTS.get(name.lower())
        hint = f"; instead of {name!r} use {equivalent}" if equivalent else ""
        raise ValueError(f"it has a parameter that libpq does not have: {_name(name)}{hint}")
    if name in _NUMBERS.split() and not re.fullmatch(r"-?\d+", value):
        raise ValueError(f"its parameter {name!r} is not an integer")
    if name in _WORDS and value not in _WORDS[name].split():
        raise ValueError(f"its parameter {name!r} is none of: {', '.join(_WORDS[name].split())}")
    if name == "client_encoding" and value.lower().replace("-", "") != "utf8":
        raise ValueError("its client_encoding must be utf8")


def _name(name: str) -> str:
    """A parameter's name for an error; other text may be part of a secret."""
    return repr(name) if re.fullmatch(r"[A-Za-z]\w{0,39}", name) else "its name is invalid"


def _redact_parameter(parameter: re.Match[str]) -> str:
    mark, key = parameter[1], parameter[2]
    return f"{mark}{key}=***" if is_secret(unquote_plus(key)) else parameter[0]
