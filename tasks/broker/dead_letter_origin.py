"""Origin and reason of a dead letter, read from its delivery and headers. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from colm.tasks.broker.topology import DEAD, SUBMISSIONS

#: Prefix of our headers on a parked letter, which hold its origin.
ORIGIN = "x-colm-"
#: Prefixes of the broker's own headers about earlier deliveries.
OF_THE_BROKER = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired")
#: Longest shown and recorded id of a message, which a stranger may choose (characters).
KEPT_ID = 200


@dataclass(frozen=True, kw_only=True)
class DeadLetterOrigin:
    """Origin and reason of a dead letter."""

    reason: str
    exchange: str | None
    routing_key: str | None
    #: The queue that held it; None for an unroutable message.
    queue: str | None
    at: datetime | None


def parse_x_death(exchange: str, routing_key: str, headers: Mapping[str, Any]) -> DeadLetterOrigin:
    """The origin of a message in `colm.dead`.

    The broker writes the first entry of `x-death` when it dead-letters a message. On a message from
    the alternate exchange the sender wrote that header, so it is ignored. Only coordinators may
    publish to `colm.dead` and could forge it there.
    """
    if exchange != DEAD:
        reason = f"unroutable: no queue reads {routing_key!r} on {exchange or 'no exchange'}"
        return DeadLetterOrigin(
            reason=reason[:400], exchange=exchange, routing_key=routing_key, queue=None, at=None
        )
    death = _last_death(headers)
    keys = death.get("routing-keys")
    at = death.get("time")
    return DeadLetterOrigin(
        reason=_in_words(str(death.get("reason", "unknown"))),
        exchange=str(death["exchange"]) if "exchange" in death else None,
        routing_key=str(keys[0]) if isinstance(keys, list) and keys else None,
        queue=str(death["queue"]) if "queue" in death else None,
        at=_utc(at) if isinstance(at, datetime) else None,
    )


def letter_id(task_id: object, routing_key: str | None, queue: str | None, now: datetime) -> str:
    """The id of a dead letter: its task's id, for a submission with the sender's routing key.

    Without the key a participant could choose the id of another's step, whose letter would then
    count as recorded.
    """
    letter = task_id if isinstance(task_id, str) and task_id else f"unknown.{now.timestamp()}"
    return (f"{routing_key}:{letter}" if queue == SUBMISSIONS else letter)[:KEPT_ID]


def parked_headers(
    headers: Mapping[str, Any], letter: str, origin: DeadLetterOrigin, now: datetime
) -> dict[str, Any]:
    """The headers of a parked letter: the sender's own, and the origin."""
    fields = {
        "letter": letter,
        "reason": origin.reason,
        "exchange": origin.exchange,
        "key": origin.routing_key,
        "queue": origin.queue,
        "at": now.isoformat(),
    }
    return {
        **own_headers(headers),
        **{ORIGIN + name: value for name, value in fields.items() if value},
    }


def parked_origin(headers: Mapping[str, Any]) -> DeadLetterOrigin:
    """The origin of a letter that `parked_headers` made."""
    fields = {name: _text(headers.get(ORIGIN + name)) for name in ("exchange", "key", "queue")}
    return DeadLetterOrigin(
        reason=_text(headers.get(ORIGIN + "reason")) or "unknown",
        exchange=fields["exchange"],
        routing_key=fields["key"],
        queue=fields["queue"],
        at=_moment(headers.get(ORIGIN + "at")),
    )


def parked_id(headers: Mapping[str, Any]) -> str:
    return _text(headers.get(ORIGIN + "letter")) or "unknown"


def own_headers(headers: Mapping[str, Any]) -> dict[str, Any]:
    """The headers that the sender set."""
    return {
        name: value
        for name, value in headers.items()
        if not name.startswith((ORIGIN, *OF_THE_BROKER))
    }


def _last_death(headers: Mapping[str, Any]) -> Mapping[str, Any]:
    match headers.get("x-death"):
        case [Mapping() as death, *_]:
            return death
        case _:
            return {}


def _in_words(code: str) -> str:
    words: Mapping[str, str] = {
        "rejected": "a worker rejected it",
        "delivery_limit": "it was redelivered too often: a worker died or returned it every time",
        "maxlen": "its queue was full",
        "expired": "it expired in its queue",
        "unknown": "it was published to the dead letters",
    }
    return f"{code}: {words[code]}" if code in words else code[:KEPT_ID]


def _text(value: object) -> str | None:
    return str(value)[:1_000] if value is not None else None


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _moment(value: object) -> datetime | None:
    try:
        return _utc(datetime.fromisoformat(str(value)))
    except ValueError:
        return None
