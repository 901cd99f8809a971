"""TLS of clients: the `[tls]` table, for py-amqp (Celery), pika and httpx.

Host names are verified with certificates; py-amqp does not by default.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from colm.models.errors import SettingsError
from colm.models.messages import Message
from colm.tasks.config.paths import absolute

PemFile = Annotated[str, Field(min_length=1), AfterValidator(lambda path: str(absolute(path)))]


class TlsSettings(Message):
    """The `[tls]` table: trusted authorities and client certificate for amqps:// and https://."""

    #: PEM file of trusted authorities; None trusts the system's.
    ca: PemFile | None = None
    #: PEM file of the client certificate.
    certificate: PemFile | None = None
    #: PEM file of its key, without a passphrase; None if `certificate` holds both.
    key: PemFile | None = None
    #: Whether to verify certificate and host name. False allows a man in the middle.
    verify: bool = True

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.key and not self.certificate:
            raise ValueError("a key without its certificate: set tls.certificate too")
        return self

    def context(self) -> ssl.SSLContext:
        """The SSL context for pika and httpx. Raises SettingsError for an unusable file."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self.ca is None:
            _trust_the_system(context)
        else:
            # A private authority replaces the public ones.
            _load("tls.ca", self.ca, lambda: context.load_verify_locations(self.ca))
        if self.certificate is not None:
            certificate, key = self.certificate, self.key
            _load(
                "tls.certificate or tls.key",
                certificate if key is None else f"{certificate} or {key}",
                lambda: context.load_cert_chain(certificate, key, password=_no_passphrase),
            )
        if not self.verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    def for_celery(self, broker_url: str) -> dict[str, Any]:
        """Celery's `broker_use_ssl`. Raises SettingsError as `context` does."""
        self.context()  # py-amqp retries a missing file for ever
        options: dict[str, Any] = {
            "cert_reqs": ssl.CERT_REQUIRED if self.verify else ssl.CERT_NONE,
            "ca_certs": self.ca,
            "certfile": self.certificate,
            "keyfile": self.key,
            "tls_minimum_version": ssl.TLSVersion.TLSv1_2,
        }
        # py-amqp verifies no host name without it; kombu's default replaces localhost by 127.0.0.1.
        host = urlsplit(broker_url).hostname
        return options | ({"server_hostname": host} if self.verify else {})


def _trust_the_system(context: ssl.SSLContext) -> None:
    """Trust OpenSSL's built-in locations; its environment variables are ignored."""
    paths = ssl.get_default_verify_paths()
    file = paths.openssl_cafile if Path(paths.openssl_cafile).is_file() else None
    folder = paths.openssl_capath if Path(paths.openssl_capath).is_dir() else None
    if file or folder:
        context.load_verify_locations(file, folder)


def _load(what: str, path: str, load: Any) -> None:
    try:
        load()
    except ssl.SSLError as error:
        raise SettingsError(f"{what}: {path} is not a usable PEM file ({error.reason})") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise SettingsError(f"{what}: {path} cannot be read: {why}") from error


def _no_passphrase() -> str:
    """Password callback of OpenSSL, which would otherwise prompt at the terminal."""
    raise ValueError("the key has a passphrase; give it one without, readable by this user only")
