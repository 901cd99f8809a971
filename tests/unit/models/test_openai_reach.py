"""How an endpoint is reached: by its settings alone, whatever the environment says."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from colm.models.engine_settings import EngineSettings
from colm.models.engines.base import GenerationRequest
from colm.models.engines.openai import connections
from colm.models.engines.openai.connections import endpoint as address
from colm.models.engines.openai.connections import is_loopback
from colm.models.engines.openai.engine import OpenAIEngine
from colm.models.errors import EndpointError, SettingsError
from colm.models.messages import Completion, Sampling, Turn
from colm.tasks.config.tls import TlsSettings
from tests.provision.certificates import Authority
from tests.unit.engines_endpoint import Canned, Endpoint, running_endpoint

SOON = 20.0
SECRET = "s3cret-0123456789"
_ids = count()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with running_endpoint() as endpoint:
        yield endpoint


async def no_pause(_: float) -> None:
    """Go on at once."""


def ask(
    url: str, *, key: str | None = None, secrets: dict[str, str] | None = None, **settings: Any
) -> Completion:
    engine = OpenAIEngine(
        EngineSettings(kind="openai", model="m", base_url=url, **{"retries": 1, **settings}),
        api_key=key,
        secret_headers=secrets,
        pause=no_pause,
    )
    try:
        request = GenerationRequest(
            request_id=f"h{next(_ids)}",
            messages=(Turn(role="user", content="Hi"),),
            sampling=Sampling(),
        )
        return engine.submit(request).result(SOON)
    finally:
        engine.close()


@pytest.mark.parametrize(
    ("base_url", "asked"),
    [
        ("http://h/v1", "http://h/v1/chat/completions"),
        ("http://h/v1/", "http://h/v1/chat/completions"),
        ("http://h", "http://h/chat/completions"),
        ("http://h/v1?api-version=X", "http://h/v1/chat/completions?api-version=X"),
        ("http://h/v1/?a=1&b=2", "http://h/v1/chat/completions?a=1&b=2"),
        ("http://h?a=1", "http://h/chat/completions?a=1"),
        ("http://h/v1/chat/completions", "http://h/v1/chat/completions"),
        ("http://h/v1/chat/completions?a=1", "http://h/v1/chat/completions?a=1"),
        ("http://h/v1#top", "http://h/v1/chat/completions"),
        (" http://h/v1 ", "http://h/v1/chat/completions"),
        ("http://h/a%2Fb/v1", "http://h/a%2Fb/v1/chat/completions"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1/chat/completions"),
    ],
)
def test_the_path_goes_before_the_query_of_a_base_url(base_url: str, asked: str) -> None:
    assert str(address(base_url)) == asked


def test_a_query_reaches_the_endpoint(endpoint: Endpoint) -> None:
    ask(f"{endpoint.url}?api-version=2024-10-21")
    assert endpoint.paths == ["/v1/chat/completions?api-version=2024-10-21"]


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True),
        ("LocalHost.", True), ("api.localhost", True), ("::ffff:127.0.0.1", True),
        ("0.0.0.0", True), ("10.0.0.1", False), ("localhost.example", False),
        ("127.0.0.1.example", False), ("::ffff:10.0.0.1", False), ("example", False),
    ],
)  # fmt: skip
def test_loopback_is_this_machine_by_any_of_its_names(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    "variables",
    [
        {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"},
        {"ALL_PROXY": "socks://127.0.0.1:7890/"},
        {"all_proxy": "socks5://127.0.0.1:7890"},
        {"NO_PROXY": "[::1],127.0.0.1"},
        {"SSL_CERT_FILE": "/nonexistent", "SSL_CERT_DIR": "/nonexistent"},
    ],
)
def test_nothing_in_the_environment_stands_between_us_and_an_endpoint(
    endpoint: Endpoint, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    connections._authorities.cache_clear()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert ask(endpoint.url).text.endswith("Hi")


def test_a_login_in_a_users_files_is_not_sent(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logins = tmp_path / "netrc"
    logins.write_text("machine 127.0.0.1 login me password hidden\n")
    monkeypatch.setenv("NETRC", str(logins))
    ask(endpoint.url)
    ask(endpoint.url, key=SECRET)
    assert "Authorization" not in endpoint.headers[0]
    assert endpoint.headers[1]["Authorization"] == f"Bearer {SECRET}"


def test_a_proxy_is_used_where_the_settings_name_one(endpoint: Endpoint) -> None:
    proxy = endpoint.url.removesuffix("/v1").replace("//", f"//me:{SECRET}@")
    ask("http://model.example/v1", proxy=proxy)
    assert endpoint.paths == ["http://model.example/v1/chat/completions"]
    assert "Proxy-Authorization" in endpoint.headers[0]


def test_a_loopback_endpoint_is_never_reached_by_a_proxy(endpoint: Endpoint) -> None:
    assert ask(endpoint.url, proxy="http://127.0.0.1:9").text.endswith("Hi")


def test_a_proxy_that_is_not_there_is_named_and_its_login_is_not() -> None:
    with pytest.raises(EndpointError, match=r"proxy http://me:\*\*\*@127\.0\.0\.1:9") as refused:
        ask("http://model.example/v1", proxy=f"http://me:{SECRET}@127.0.0.1:9", retries=0)
    assert SECRET not in str(refused.value)


def test_headers_of_the_settings_are_sent_and_secret_ones_shown_nowhere(
    endpoint: Endpoint,
) -> None:
    def asked() -> Completion:
        secrets = {"api-key": f" {SECRET}\n"}
        return ask(endpoint.url, extra_headers={"x-team": "vision"}, secrets=secrets)

    asked()
    assert endpoint.headers[0]["x-team"] == "vision"
    assert endpoint.headers[0]["api-key"] == SECRET

    endpoint.canned.append(Canned(status=401, body={"error": f"bad key {SECRET}"}))
    with pytest.raises(EndpointError, match=r"bad key \*\*\*"):
        asked()


def test_a_secret_in_a_base_url_is_shown_nowhere(endpoint: Endpoint) -> None:
    endpoint.canned.append(Canned(status=403, body={"error": f"{SECRET} of 2024 is no key"}))
    with pytest.raises(EndpointError, match=r"\*\*\* of 2024 is no key"):
        ask(f"{endpoint.url}?key={SECRET}&api-version=2024")


def test_a_header_that_cannot_be_sent_is_named_without_its_value() -> None:
    with pytest.raises(SettingsError, match="header api-key has characters") as refused:
        ask("http://h/v1", secrets={"api-key": "s\u00e9cret"})
    assert "cret" not in str(refused.value)


def test_a_private_authority_is_trusted_where_the_settings_name_its_file(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    signed = authority.sign("endpoint", "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*signed)
    with running_endpoint(context) as endpoint:
        assert ask(endpoint.url, ca_file=str(authority.ca)).text.endswith("Hi")
        with pytest.raises(EndpointError, match="certificate"):
            ask(endpoint.url, retries=0)


def test_a_file_of_authorities_that_cannot_be_used_is_a_settings_error(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch()
    for path in (tmp_path / "none.pem", empty, tmp_path):
        with pytest.raises(SettingsError, match=f"ca_file: {path} cannot be used: "):
            ask("https://h/v1", ca_file=str(path))


def test_the_authorities_of_the_system_do_not_depend_on_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = TlsSettings().context().get_ca_certs()
    monkeypatch.setenv("SSL_CERT_FILE", str(Authority(tmp_path).ca))
    assert TlsSettings().context().get_ca_certs() == before


PLAIN = {"Content-Encoding": "gzip", "Content-Type": "application/json"}


@pytest.mark.parametrize("status", [200, 502])
def test_a_body_that_cannot_be_unpacked_is_tried_again(endpoint: Endpoint, status: int) -> None:
    endpoint.canned.append(Canned(status=status, body=b"plain", headers=PLAIN))
    assert ask(endpoint.url).text.endswith("Hi")


@pytest.mark.parametrize(("status", "why"), [(200, "cannot be unpacked"), (502, "HTTP 502")])
def test_a_body_that_never_can_be_unpacked_is_told(
    endpoint: Endpoint, status: int, why: str
) -> None:
    endpoint.canned.extend([Canned(status=status, body=b"plain", headers=PLAIN)] * 2)
    with pytest.raises(EndpointError, match=rf"{why}.*tried 2 times"):
        ask(endpoint.url)


def test_a_final_status_is_final_even_where_its_body_cannot_be_unpacked(endpoint: Endpoint) -> None:
    endpoint.canned.append(Canned(status=401, body=b"plain", headers=PLAIN))
    with pytest.raises(EndpointError, match="HTTP 401"):
        ask(endpoint.url)
    assert len(endpoint.asked) == 1


def test_a_redirect_is_not_followed_and_says_where_it_leads(endpoint: Endpoint) -> None:
    where = "https://api.example.com/v1/chat/completions"
    for status in (301, 302, 303, 307, 308):
        endpoint.canned.append(Canned(status=status, body=b"", headers={"Location": where}))
        with pytest.raises(EndpointError, match=f"HTTP {status}: it has moved to {where}"):
            ask(endpoint.url)
    assert len(endpoint.asked) == 5


@pytest.mark.parametrize("status", [201, 202])
def test_any_good_status_can_carry_a_completion(endpoint: Endpoint, status: int) -> None:
    body = {"choices": [{"message": {"content": "Fine"}}]}
    endpoint.canned.append(Canned(status=status, body=body))
    assert ask(endpoint.url).text == "Fine"
