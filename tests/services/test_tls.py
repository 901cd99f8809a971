"""RabbitMQ over TLS with a private authority: who is let in, and what the others are told."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection
from pika import BlockingConnection
from pika.exceptions import AMQPError

from colm.models.errors import SettingsError
from colm.tasks.broker.connection import NO_TLS, error_hint, pika_parameters
from colm.tasks.config.settings import Settings
from colm.tasks.config.tls import TlsSettings
from colm.workers.rabbitmq.permission_probe import connect_with_retry
from tests.journeys.site import Site
from tests.provision import RabbitMQServer
from tests.provision.certificates import Authority, Signed
from tests.provision.process import free_port

CONFIG = """\
listeners.ssl.1 = 127.0.0.1:{port}
ssl_options.cacertfile = {ca}
ssl_options.certfile = {certificate}
ssl_options.keyfile = {key}
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = {demand}
"""


@dataclass(frozen=True, kw_only=True)
class Secured:
    """A broker that speaks TLS on `port`, and plainly on another."""

    server: RabbitMQServer
    port: int
    authority: Authority

    def url(self, host: str = "localhost", scheme: str = "amqps", port: int | None = None) -> str:
        login = self.server.url.removeprefix("amqp://").partition("@")[0]
        return f"{scheme}://{login}@{host}:{port or self.port}/%2F"

    def settings(self, url: str | None = None, **tls: object) -> Settings:
        given = TlsSettings.model_validate({"ca": str(self.authority.ca), **tls})
        return Settings(broker=url or self.url(), tls=given)


Start = Callable[..., Secured]


@pytest.fixture(scope="module")
def start(
    rabbitmq_installed: None,  # noqa: ARG001  # skips without it
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Start]:
    """Starts a broker with a certificate, which may demand one of whoever connects."""
    running: list[RabbitMQServer] = []

    def with_certificate(
        *hosts: str, lasts: timedelta = timedelta(days=1), demand: bool = False
    ) -> Secured:
        authority = Authority(tmp_path_factory.mktemp("ca"))
        signed = authority.sign("broker", *hosts, lasts=lasts)
        port = free_port()
        config = CONFIG.format(
            port=port, ca=authority.ca, certificate=signed.certificate, key=signed.key,
            demand=str(demand).lower(),
        )  # fmt: skip
        running.append(RabbitMQServer(management=False, config=config).start())
        return Secured(server=running[-1], port=port, authority=authority)

    yield with_certificate
    for server in running:
        server.close()


@pytest.fixture(scope="module")
def secured(start: Start) -> Secured:
    return start("localhost", demand=False)


def _ssl(found: Settings) -> Any:
    """What Celery hands to kombu."""
    secure = found.broker_url.startswith("amqps")
    return found.tls.for_celery(found.broker_url) if secure else False


def reach(found: Settings) -> None:
    """Connect as pika does and as Celery does, with what our settings make of it."""
    connect_with_retry(found).close()
    with Connection(found.broker_url, ssl=_ssl(found), connect_timeout=5) as connection:
        connection.connect()


def refused(found: Settings) -> str:
    """What is told of a broker that neither library connects to."""
    connection = Connection(found.broker_url, ssl=_ssl(found), connect_timeout=5)
    with connection, pytest.raises((OSError, *connection.connection_errors)) as by_kombu:
        connection.connect()
    with pytest.raises((OSError, AMQPError)) as by_pika:
        BlockingConnection(pika_parameters(found))
    told = error_hint(by_pika.value, found.broker_url)
    by_celery = error_hint(by_kombu.value, found.broker_url)
    # Either may meet the end of the connection before the reason for it.
    assert by_celery == told or NO_TLS in (by_celery, told)
    told = by_celery if told == NO_TLS else told
    assert told is not None
    return told


def test_with_its_authority_the_broker_is_reached(secured: Secured) -> None:
    reach(secured.settings())


def test_the_systems_authorities_do_not_vouch_for_a_private_one(secured: Secured) -> None:
    assert "name that authority's file in tls.ca" in refused(secured.settings(ca=None))


def test_a_broker_of_another_authority_is_refused(secured: Secured, tmp_path: Path) -> None:
    other = Authority(tmp_path, "another authority")
    told = refused(secured.settings(ca=str(other.ca)))
    assert "authority that is not trusted" in told


def test_a_broker_under_another_name_is_refused_and_reached_where_nobody_checks(
    secured: Secured,
) -> None:
    found = secured.settings(url=secured.url("127.0.0.1"))
    assert "names another address" in refused(found)
    reach(found.model_copy(update={"tls": TlsSettings(verify=False)}))


def test_a_certificate_that_has_expired_is_refused(start: Start) -> None:
    stale = start("localhost", lasts=timedelta(hours=-1))
    assert "has expired" in refused(stale.settings())


def test_a_broker_that_wants_a_certificate_gets_one_or_refuses(
    start: Start, tmp_path: Path
) -> None:
    strict = start("localhost", demand=True)
    own = strict.authority.sign("client")
    strangers = Authority(tmp_path / "other").sign("stranger")

    reach(strict.settings(**_files(own)))
    joined = tmp_path / "both.pem"
    joined.write_bytes(own.key.read_bytes() + own.certificate.read_bytes())
    reach(strict.settings(certificate=str(joined)))

    # Which of the two is heard, the broker's alert or the end of the connection, is a race: in
    # TLS 1.3 a client's certificate is looked at after the client's part of the handshake.
    said = "(requires|refused).* set tls.certificate"
    assert re.search(said, refused(strict.settings()))
    assert re.search(said, refused(strict.settings(**_files(strangers))))


def _files(signed: Signed) -> dict[str, str]:
    return {"certificate": str(signed.certificate), "key": str(signed.key)}


def test_a_port_that_speaks_tls_is_not_reached_without_and_the_other_way_round(
    secured: Secured,
) -> None:
    plain = secured.settings(url=secured.url(scheme="amqp"))
    assert "use amqps://" in refused(plain)

    wrong_port = secured.settings(url=secured.url(port=secured.server.port))
    assert "does not speak TLS" in refused(wrong_port)


def test_a_process_ends_with_what_to_do_where_waiting_would_not_help(
    secured: Secured, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=r"localhost:\d+ .*signed by an authority"):
        connect_with_retry(secured.settings(ca=str(Authority(tmp_path).ca)))


@pytest.mark.parametrize("what", ["ca", "certificate", "key"])
def test_a_file_that_cannot_be_used_is_named(secured: Secured, tmp_path: Path, what: str) -> None:
    own = secured.authority.sign("mine")
    broken = tmp_path / "broken.pem"
    shutil.copyfile(own.certificate, broken)
    broken.write_text("nothing")
    for path in (broken, tmp_path / "missing.pem"):
        with pytest.raises(SettingsError, match=rf"tls\.{what}.*{path.name}"):
            secured.settings(**{**_files(own), what: str(path)}).tls.for_celery("amqps://localhost")


def test_a_whole_site_answers_over_tls(start: Start, tmp_path: Path, postgres_url: str) -> None:
    strict = start("localhost", demand=True)
    own = strict.authority.sign("site")
    site = Site(tmp_path, broker=strict.url(), database=postgres_url)
    site.variables = {
        "COLM_TLS__CA": str(strict.authority.ca),
        "COLM_TLS__CERTIFICATE": str(own.certificate),
        "COLM_TLS__KEY": str(own.key),
    }
    try:
        site.configure("a")
        site.start_all("a")
        log = tmp_path / "coordinator.log"
        site.wait_until(lambda: "reads colm.ask" in log.read_text(), timeout=90)
        assert site.ask("Who listens?", {"rounds": 1})["status"] == "answered"
        assert "RabbitMQ" in site.colm("doctor", "--broker-only")
    finally:
        with suppress(OSError):
            site.close()
