"""How pika reaches RabbitMQ, and what to do about each failure to reach it that is known."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

import pika

from colm.tasks.config.settings import Settings

#: How long RabbitMQ is given to accept a connection (seconds).
CONNECT_WITHIN = 5.0

#: What OpenSSL calls the faults of a certificate (X509_V_ERR_*), and what to do about each.
CERTIFICATES = {
    # 7: another authority of the same name, as 19 and 20 are of other names.
    7: "is signed by an authority that is not trusted: name that authority's file in tls.ca",
    9: "is not valid yet: correct this machine's clock, or wait",
    10: "has expired: renew it on the broker, or correct this machine's clock",
    18: "is signed by itself: name it, or the authority that you trust, in tls.ca",
    19: "is signed by an authority that is not trusted: name that authority's file in tls.ca",
    20: "is signed by an authority that is not trusted: name that authority's file in tls.ca",
    62: "names another host: connect to a name that it holds, or have it issued for this one",
    64: "names another address: connect to a name that it holds, or have it issued for this one",
}
#: A limit that an operator has set; the broker's own words say which.
LIMIT = (
    "a limit on connections or channels is reached (docs/how-to/secure-a-site.md says how many "
    "each process needs): raise it with rabbitmqctl set_user_limits or set_vhost_limits, or end "
    "what else is connected"
)
QUEUE_LIMIT = (
    "the virtual host holds as many queues as its limit allows: raise it (rabbitmqctl "
    "set_vhost_limits --vhost VHOST '{\"max-queues\":-1}'); no queue has to be deleted"
)
#: What the other failures look like, by the words of whichever library met them.
SIGNS = (
    (r"limit in (vhost|cluster) .*is reached", QUEUE_LIMIT),
    (r"limit \(\d+\) is reached|maximum allowed (user )?limit of \(", LIMIT),
    (r"WRONG_VERSION_NUMBER|wrong version number|RECORD_LAYER", "the port does not speak TLS: use "
     "amqp:// for it, or the port of the broker's TLS listener (5671) with amqps://"),
    (r"CERTIFICATE_REQUIRED|certificate required|BAD_CERTIFICATE|bad certificate|HANDSHAKE_FAILURE"
     r"|handshake failure|UNKNOWN_CA|unknown ca|DECRYPT_ERROR",
     "the broker refused this side's certificate, or wants one and got none: set tls.certificate "
     "and tls.key to a pair that the broker's authority has signed"),
    (r"ACCESS_REFUSED - (\w+ )?access to", "this user has no right to that: 'colm doctor' says "
     "what it may do, and 'colm client add NAME' gives a participant a user of its own"),
    (r"Login was refused|AuthenticationError", "user or password was refused: correct the URL "
     "of the broker; 'colm client rotate NAME' gives a client a new password"),
    (r"\b530\b|NOT_ALLOWED", "the virtual host of the URL does not exist, or this user has no "
     "right to it: correct the URL of the broker, or set permissions"),
)  # fmt: skip

#: Likewise, for a connection that was cut off before it was open. That may pass by itself.
CUT_OFF = r"Reset|closed connection|IncompatibleProtocol|EOF|StreamLost|unexpectedly"
NO_AMQP = "the port did not answer in AMQP: if it is the broker's TLS listener, use amqps://"
NO_TLS = (
    "the broker ended the connection: if it wants a certificate of this side, set tls.certificate"
)
TRANSIENT_HINTS = (NO_AMQP, NO_TLS, LIMIT)


def pika_parameters(found: Settings) -> pika.URLParameters:
    """What pika connects with: the settings' broker, over TLS as `[tls]` says."""
    parameters = pika.URLParameters(found.broker_url)
    if found.broker_url.startswith("amqps"):
        parameters.ssl_options = pika.SSLOptions(found.tls.context(), parameters.host)
    parameters.socket_timeout = CONNECT_WITHIN
    parameters.blocked_connection_timeout = CONNECT_WITHIN
    return parameters


def display_address(url: str) -> str:
    """Host, port and virtual host of a broker's URL: all of it that may be shown."""
    parts = urlsplit(url)
    port = parts.port or (5671 if parts.scheme == "amqps" else 5672)
    return f"{parts.hostname or 'localhost'}:{port} (virtual host {unquote(parts.path[1:]) or '/'})"


def error_hint(error: BaseException, url: str) -> str | None:
    """What to do about a connection that failed with `error`; None where waiting is all there is.

    A failure with a remedy does not go away by itself, unless that is one of TRANSIENT_HINTS.
    """
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            fault = CERTIFICATES.get(cause.verify_code, f"is refused: {cause.verify_message}")
            return f"the broker's certificate {fault}"
    told = " ".join(f"{type(cause).__name__} {cause}" for cause in _causes(error))
    for sign, advice in SIGNS:
        if re.search(sign, told):
            return advice
    if re.search(CUT_OFF, told):
        return NO_AMQP if url.startswith("amqp://") else NO_TLS
    return None


def words(error: BaseException, url: str) -> str:
    """What to do about `error`, and what the broker said, where that says more."""
    advice = error_hint(error, url)
    if advice in (LIMIT, QUEUE_LIMIT):
        return f"{advice}. It said: {error}"
    return advice or repr(error)


def undeclarable(error: BaseException) -> str:
    """Error hint where a queue or an exchange may not be declared as `broker.topology` has it."""
    if error_hint(error, "amqp://") == QUEUE_LIMIT:
        return QUEUE_LIMIT
    what = "an exchange" if "for exchange" in str(error) else "a queue"
    return (
        f"{what} exists with other arguments than this version declares: give [limits] the values "
        "that it was made with, or let it run empty, delete it and start a coordinator, or use "
        "another virtual host"
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, what it wraps, and what caused it; pika keeps the reason in its arguments."""
    seen: list[BaseException] = []
    waiting = [error]
    while waiting:
        found = waiting.pop()
        if found in seen:
            continue
        seen.append(found)
        yield found
        inner = [found.__cause__, found.__context__, getattr(found, "exception", None), *found.args]
        waiting += [e for e in inner if isinstance(e, BaseException)]
