"""Connection parameters of RabbitMQ, and error hints for known connection failures."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

import pika

from colm.tasks.config.settings import Settings

#: Timeout of a connection attempt (seconds).
CONNECT_WITHIN = 5.0

#: Hints by OpenSSL's verify code (X509_V_ERR_*).
CERTIFICATES = {
    # 7: an authority of the same name; 19 and 20: of another name.
    7: "is signed by an authority that is not trusted: name that authority's file in tls.ca",
    9: "is not valid yet: correct this machine's clock, or wait",
    10: "has expired: renew it on the broker, or correct this machine's clock",
    18: "is signed by itself: name it, or the authority that you trust, in tls.ca",
    19: "is signed by an authority that is not trusted: name that authority's file in tls.ca",
    20: "is signed by an authority that is not trusted: name that authority's file in tls.ca",
    62: "names another host: connect to a name that it holds, or have it issued for this one",
    64: "names another address: connect to a name that it holds, or have it issued for this one",
}
#: A limit that an operator has set; the broker's message names it.
LIMIT = (
    "a limit on connections or channels is reached (docs/how-to/secure-a-site.md says how many "
    "each process needs): raise it with rabbitmqctl set_user_limits or set_vhost_limits, or end "
    "what else is connected"
)
QUEUE_LIMIT = (
    "the virtual host holds as many queues as its limit allows: raise it (rabbitmqctl "
    "set_vhost_limits --vhost VHOST '{\"max-queues\":-1}'); no queue has to be deleted"
)
#: Hints by a pattern of the error text, of any library.
SIGNS = (
    (r"limit in (vhost|cluster) .*is reached", QUEUE_LIMIT),
    (r"limit \(\d+\) is reached|maximum allowed (user )?limit of \(", LIMIT),
    (r"WRONG_VERSION_NUMBER|wrong version number|RECORD_LAYER", "the port does not speak TLS: use "
     "amqp:// for it, or the port of the broker's TLS listener (5671) with amqps://"),
    (r"CERTIFICATE_REQUIRED|certificate required|BAD_CERTIFICATE|bad certificate|HANDSHAKE_FAILURE"
     r"|handshake failure|UNKNOWN_CA|unknown ca|DECRYPT_ERROR",
     "the broker refused this client's certificate or its absence: set tls.certificate "
     "and tls.key to a pair that the broker's authority has signed"),
    (r"ACCESS_REFUSED - (\w+ )?access to", "this user lacks the permission: 'colm doctor' lists "
     "its permissions, and 'colm client add NAME' makes a user for a participant"),
    (r"Login was refused|AuthenticationError", "user or password was refused: correct the URL "
     "of the broker; 'colm client rotate NAME' gives a client a new password"),
    (r"\b530\b|NOT_ALLOWED", "the virtual host of the URL does not exist, or this user has no "
     "right to it: correct the URL of the broker, or set permissions"),
)  # fmt: skip

#: Likewise, for a connection that ended before it was open, which may be transient.
CUT_OFF = r"Reset|closed connection|IncompatibleProtocol|EOF|StreamLost|unexpectedly"
NO_AMQP = "the port did not answer in AMQP: if it is the broker's TLS listener, use amqps://"
NO_TLS = "the broker ended the connection: if it requires a client certificate, set tls.certificate"
TRANSIENT_HINTS = (NO_AMQP, NO_TLS, LIMIT)


def pika_parameters(site: Settings) -> pika.URLParameters:
    """pika's connection parameters for the settings' broker, with TLS as in `[tls]`."""
    parameters = pika.URLParameters(site.broker_url)
    if site.broker_url.startswith("amqps"):
        parameters.ssl_options = pika.SSLOptions(site.tls.context(), parameters.host)
    parameters.socket_timeout = CONNECT_WITHIN
    parameters.blocked_connection_timeout = CONNECT_WITHIN
    return parameters


def display_address(url: str) -> str:
    """Host, port and virtual host of a broker's URL, without its login."""
    parts = urlsplit(url)
    port = parts.port or (5671 if parts.scheme == "amqps" else 5672)
    return f"{parts.hostname or 'localhost'}:{port} (virtual host {unquote(parts.path[1:]) or '/'})"


def error_hint(error: BaseException, url: str) -> str | None:
    """The remedy for a failed connection; None for an error that only time may mend.

    An error with a hint is permanent, unless the hint is one of TRANSIENT_HINTS.
    """
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            fault = CERTIFICATES.get(cause.verify_code, f"is refused: {cause.verify_message}")
            return f"the broker's certificate {fault}"
    text = " ".join(f"{type(cause).__name__} {cause}" for cause in _causes(error))
    for sign, hint in SIGNS:
        if re.search(sign, text):
            return hint
    if re.search(CUT_OFF, text):
        return NO_AMQP if url.startswith("amqp://") else NO_TLS
    return None


def describe_error(error: BaseException, url: str) -> str:
    """The hint for `error`, else its repr; a limit's hint with the broker's message."""
    hint = error_hint(error, url)
    if hint in (LIMIT, QUEUE_LIMIT):
        return f"{hint}. It said: {error}"
    return hint or repr(error)


def declare_hint(error: BaseException) -> str:
    """The hint for a declaration that the broker refuses with PRECONDITION_FAILED."""
    if error_hint(error, "amqp://") == QUEUE_LIMIT:
        return QUEUE_LIMIT
    what = "an exchange" if "for exchange" in str(error) else "a queue"
    return (
        f"{what} exists with other arguments than this version declares: give [limits] the values "
        "that it was made with, or let it run empty, delete it and start a coordinator, or use "
        "another virtual host"
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes; pika wraps them in `args`."""
    visited: list[BaseException] = []
    pending = [error]
    while pending:
        cause = pending.pop()
        if cause in visited:
            continue
        visited.append(cause)
        yield cause
        inner = [cause.__cause__, cause.__context__, getattr(cause, "exception", None), *cause.args]
        pending += [e for e in inner if isinstance(e, BaseException)]
