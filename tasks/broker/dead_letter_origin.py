"""Where a dead message came from, and why it died: from its delivery and its headers. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from colm.tasks.broker.topology import DEAD, SUBMISSIONS

#: Headers that say where a parked letter came from; everything else is as it was published.
ORIGIN = "x-colm-"
#: Headers of the broker's own, about deliveries that are over.
OF_THE_BROKER = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired")
#: How much of a message's id is shown and kept, which a stranger may have made (characters).
KEPT_ID = 200


@dataclass(frozen=True, kw_only=True)
class DeadLetterOrigin:
    """What is known of how a message came to be dead."""

    reason: str
    exchange: str | None
    routing_key: str | None
    #: The queue it was in; None for one that no queue took.
    queue: str | None
    at: datetime | None


def parse_x_death(exchange: str, routing_key: str, headers: Mapping[str, Any]) -> DeadLetterOrigin:
    """The origin of a message in `colm.dead`, from its delivery and the broker's own headers.

    The broker writes the first entry of `x-death` when it moves a message. Of one that came by the
    alternate exchange that header is the sender's own claim, and is ignored; it could be forged by
    whoever may publish to `colm.dead` itself, which is for coordinators alone.
    """
    if exchange != DEAD:
        reason = f"unroutable: no queue reads {routing_key!r} on {exchange or 'no exchange'}"
        return DeadLetterOrigin(
            reason=reason[:400], exchange=exchange, routing_key=routing_key, queue=None, at=None
        )
    death = _last_death(headers)
    keys = death.get("routing-keys")
    known = isinstance(keys, list) and bool(keys)
    at = death.get("time")
    return DeadLetterOrigin(
        reason=_in_words(str(death.get("reason", "unknown"))),
        exchange=str(death["exchange"]) if "exchange" in death else None,
        routing_key=str(keys[0]) if known and isinstance(keys, list) else None,
        queue=str(death["queue"]) if "queue" in death else None,
        at=_utc(at) if isinstance(at, datetime) else None,
    )


def letter_id(task_id: object, routing_key: str | None, queue: str | None, now: datetime) -> str:
    """How a dead message is known: its task's id; with its sender's key where a stranger chose it.

    Otherwise a participant could give a submission the id of somebody else's step, whose letter
    would then count as recorded already.
    """
    known = task_id if isinstance(task_id, str) and task_id else f"unknown.{now.timestamp()}"
    if queue == SUBMISSIONS:
        known = f"{routing_key}:{known}"
    return known[:KEPT_ID]


def parked_headers(
    headers: Mapping[str, Any], letter: str, origin: DeadLetterOrigin, now: datetime
) -> dict[str, Any]:
    """The headers of a letter that is parked: its own, and where it came from."""
    told = {
        "letter": letter,
        "reason": origin.reason,
        "exchange": origin.exchange,
        "key": origin.routing_key,
        "queue": origin.queue,
        "at": now.isoformat(),
    }
    return {
        **own_headers(headers),
        **{ORIGIN + name: value for name, value in told.items() if value},
    }


def parked_origin(headers: Mapping[str, Any]) -> DeadLetterOrigin:
    """The origin of a letter that `parked_headers` made."""
    told = {name: _text(headers.get(ORIGIN + name)) for name in ("exchange", "key", "queue")}
    return DeadLetterOrigin(
        reason=_text(headers.get(ORIGIN + "reason")) or "unknown",
        exchange=told["exchange"],
        routing_key=told["key"],
        queue=told["queue"],
        at=_moment(headers.get(ORIGIN + "at")),
    )


def parked_id(headers: Mapping[str, Any]) -> str:
    return _text(headers.get(ORIGIN + "letter")) or "unknown"


def own_headers(headers: Mapping[str, Any]) -> dict[str, Any]:
    """The headers that the sender gave a message."""
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
        "rejected": "a worker refused it",
        "delivery_limit": "it was delivered too often: a worker died or gave it back every time",
        "maxlen": "its queue was full",
        "expired": "nobody took it in time",
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
