"""Implementation of `colm dead list|show|replay|drop` on RabbitMQ's queues.

The embedded broker has no dead-letter queues: the record's are shown, and none can be replayed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from colm.models.errors import CallerError
from colm.tasks.broker.capabilities import broker
from colm.tasks.broker.dead_letter_queue import DeadMessage, Verdict, process_queue
from colm.tasks.broker.topology import PARKED
from colm.workers.console import plain, print_json

EMBEDDED = (
    "the embedded broker has no dead-letter queues: rejected messages are only in the record and "
    "cannot be replayed; ask again, or use RabbitMQ"
)


def show_list(limit: int, *, as_json: bool) -> None:
    """List the letters of both queues; on the embedded broker, of the record."""
    if not broker().dead_letters:
        from colm.workers.cli.query_actions import list_dead_letters

        sys.stderr.write(f"{EMBEDDED}. Letters in the record:\n")
        list_dead_letters(min(limit, 10_000), texts=False, as_json=as_json)
        return
    letters = [letter for letter, _ in process_queue(_keep, limit=limit)]
    if as_json:
        print_json([_as_document(letter) for letter in letters])
    else:
        Console().print(_table(letters))


def show_one(letter_id: str, limit: int, *, texts: bool, as_json: bool) -> None:
    """Print one letter. Raises CallerError for an unknown id."""
    if not broker().dead_letters:
        from colm.workers.cli.query_actions import show_dead_letter

        show_dead_letter(letter_id, texts=texts, as_json=as_json)
        return
    letters = [e for e, _ in process_queue(_keep, limit=limit) if e.letter_id == letter_id]
    if not letters:
        raise CallerError(_missing([letter_id]))
    documents = [_as_document(letter) | _content(letter, texts=texts) for letter in letters]
    if as_json:
        print_json(documents[0])
        return
    for name, value in documents[0].items():
        Console().print(plain(f"{name:>12}  {value}"), soft_wrap=True)


def replay_or_drop(
    what: Verdict, ids: Sequence[str], limit: int, *, every: bool, reason: str | None, as_json: bool
) -> None:
    """Replay or drop the given letters, or all. Raises CallerError, NoConsumer, Overloaded.

    A letter that no coordinator has recorded yet is not dropped: its caller still waits.
    """
    if not broker().dead_letters:
        raise CallerError(EMBEDDED)
    if bool(ids) == every:
        raise CallerError(f"give the letters to {what}, or --all")
    selected = set(ids)
    skipped: list[str] = []

    def decide(letter: DeadMessage) -> Verdict:
        if not every and letter.letter_id not in selected:
            return "keep"
        if reason is not None and reason not in letter.reason:
            return "keep"
        unrecorded = what == "drop" and not letter.recorded
        unroutable = what == "replay" and letter.exchange is None
        if unrecorded or (unroutable and every):
            skipped.append(letter.letter_id)
            return "keep"
        return what

    done = [letter for letter, verdict in process_queue(decide, limit=limit) if verdict == what]
    if missing := sorted(selected - {e.letter_id for e in done} - set(skipped)):
        raise CallerError(_missing(missing, done=len(done), what=what))
    _report(what, done, skipped, as_json=as_json)


def _report(
    what: str, done: Sequence[DeadMessage], skipped: Sequence[str], *, as_json: bool
) -> None:
    if as_json:
        print_json({what: [_as_document(letter) for letter in done], "kept": list(skipped)})
        return
    console = Console()
    for letter in done:
        where = f" to {letter.routing_key} on {letter.exchange}" if what == "replay" else ""
        console.print(plain(f"{what}: {letter.letter_id}{where}"), soft_wrap=True)
    for letter_id in skipped:
        why = (
            "its exchange is unknown"
            if what == "replay"
            else "no coordinator has recorded it yet: start 'colm coordinator'"
        )
        console.print(plain(f"kept: {letter_id}: {why}"), soft_wrap=True)
    if not done and not skipped:
        console.print("nothing to do")


def _keep(_letter: DeadMessage) -> Verdict:
    return "keep"


def _missing(ids: Sequence[str], *, done: int = 0, what: str = "") -> str:
    rest = f"; {what} was done for {done} others" if done else ""
    return f"no letter {', '.join(map(repr, ids))}{rest}: see 'colm dead list'"


def _as_document(letter: DeadMessage) -> dict[str, Any]:
    return {
        "letter": letter.letter_id,
        "at": letter.at.isoformat() if letter.at else None,
        "state": "parked" if letter.queue == PARKED else "not recorded yet",
        "task": letter.task,
        "reason": letter.reason,
        "exchange": letter.exchange,
        "routing_key": letter.routing_key,
        "bytes": len(letter.body),
    }


def _content(letter: DeadMessage, *, texts: bool) -> dict[str, Any]:
    headers = {str(k): str(v)[:1_000] for k, v in (letter.properties.headers or {}).items()}
    content: dict[str, Any] = {"content_type": letter.properties.content_type}
    if not texts:
        return {**content, "headers": sorted(headers), "body": "hidden: use --texts"}
    body = letter.body.decode("utf-8", "backslashreplace")
    return {**content, "headers": headers, "body": body}


def _table(letters: Sequence[DeadMessage]) -> Table:
    table = Table(box=None, header_style="bold")
    for name in ("letter", "at (UTC)", "state", "task", "from", "reason"):
        table.add_column(name, overflow="fold")
    for letter in letters:
        document = _as_document(letter)
        at = f"{letter.at:%m-%d %H:%M:%S}" if letter.at else ""
        origin = f"{letter.routing_key or '?'} on {letter.exchange or '?'}"
        row = (letter.letter_id, at, document["state"], letter.task, origin, letter.reason)
        table.add_row(*map(plain, row))
    return table
