"""What `colm dead list|show|replay|drop` do: on RabbitMQ with what lies in its queues.

The embedded broker keeps no dead letters: there the record's are shown, and nothing
can be replayed.
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
    "the embedded broker keeps no dead letters: what a worker refused is in the record alone, and "
    "cannot be replayed; ask again, or use RabbitMQ"
)


def show_list(limit: int, *, as_json: bool) -> None:
    """List both queues; on the embedded broker, the record's letters."""
    if not broker().dead_letters:
        from colm.workers.cli.query_actions import list_dead_letters

        sys.stderr.write(f"{EMBEDDED}. These are the record's:\n")
        list_dead_letters(min(limit, 10_000), texts=False, as_json=as_json)
        return
    found = [letter for letter, _ in process_queue(_keep, limit=limit)]
    if as_json:
        print_json([_told(letter) for letter in found])
    else:
        Console().print(_table(found))


def show_one(letter_id: str, limit: int, *, texts: bool, as_json: bool) -> None:
    """Print one letter. Raises CallerError where there is none of this id."""
    if not broker().dead_letters:
        from colm.workers.cli.query_actions import show_dead_letter

        show_dead_letter(letter_id, texts=texts, as_json=as_json)
        return
    found = [e for e, _ in process_queue(_keep, limit=limit) if e.letter_id == letter_id]
    if not found:
        raise CallerError(_missing([letter_id]))
    told = [_told(letter) | _inside(letter, texts=texts) for letter in found]
    if as_json:
        print_json(told[0])
        return
    for name, value in told[0].items():
        Console().print(plain(f"{name:>12}  {value}"), soft_wrap=True)


def replay_or_drop(
    what: Verdict,
    ids: Sequence[str],
    limit: int,
    *,
    every: bool,
    reason: str | None,
    as_json: bool,
) -> None:
    """Replay or drop the letters named, or all of them. Raises CallerError, NoConsumer, Overloaded.

    A letter that no coordinator has settled yet is not dropped: somebody waits for what it was.
    """
    if not broker().dead_letters:
        raise CallerError(EMBEDDED)
    if bool(ids) == every:
        raise CallerError(f"name letters to {what}, or say --all")
    wanted = set(ids)
    kept: list[str] = []

    def decide(letter: DeadMessage) -> Verdict:
        if not every and letter.letter_id not in wanted:
            return "keep"
        if reason is not None and reason not in letter.reason:
            return "keep"
        unsettled = what == "drop" and not letter.recorded
        homeless = what == "replay" and letter.exchange is None
        if unsettled or (homeless and every):
            kept.append(letter.letter_id)
            return "keep"
        return what

    done = [letter for letter, verdict in process_queue(decide, limit=limit) if verdict == what]
    if missing := sorted(wanted - {e.letter_id for e in done} - set(kept)):
        raise CallerError(_missing(missing, done=len(done), what=what))
    _report(what, done, kept, as_json=as_json)


def _report(what: str, done: Sequence[DeadMessage], kept: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        print_json({what: [_told(letter) for letter in done], "kept": list(kept)})
        return
    console = Console()
    for letter in done:
        where = f" to {letter.routing_key} on {letter.exchange}" if what == "replay" else ""
        console.print(plain(f"{what}: {letter.letter_id}{where}"), soft_wrap=True)
    for letter_id in kept:
        why = (
            "nobody knows where it was published"
            if what == "replay"
            else "no coordinator has settled it yet; start 'colm coordinator'"
        )
        console.print(plain(f"kept: {letter_id}: {why}"), soft_wrap=True)
    if not done and not kept:
        console.print("nothing to do")


def _keep(_letter: DeadMessage) -> Verdict:
    return "keep"


def _missing(ids: Sequence[str], *, done: int = 0, what: str = "") -> str:
    rest = f"; {what} was done for {done} others" if done else ""
    return f"there is no letter {', '.join(map(repr, ids))}{rest}; 'colm dead list' lists them"


def _told(letter: DeadMessage) -> dict[str, Any]:
    return {
        "letter": letter.letter_id,
        "at": letter.at.isoformat() if letter.at else None,
        "state": "parked" if letter.queue == PARKED else "not settled yet",
        "task": letter.task,
        "reason": letter.reason,
        "exchange": letter.exchange,
        "routing_key": letter.routing_key,
        "bytes": len(letter.body),
    }


def _inside(letter: DeadMessage, *, texts: bool) -> dict[str, Any]:
    headers = {str(k): str(v)[:1_000] for k, v in (letter.properties.headers or {}).items()}
    told: dict[str, Any] = {"content_type": letter.properties.content_type}
    if not texts:
        return {**told, "headers": sorted(headers), "body": "hidden; --texts shows it"}
    body = letter.body.decode("utf-8", "backslashreplace")
    return {**told, "headers": headers, "body": body}


def _table(letters: Sequence[DeadMessage]) -> Table:
    table = Table(box=None, header_style="bold")
    for name in ("letter", "at (UTC)", "state", "task", "from", "reason"):
        table.add_column(name, overflow="fold")
    for letter in letters:
        told = _told(letter)
        at = f"{letter.at:%m-%d %H:%M:%S}" if letter.at else ""
        origin = f"{letter.routing_key or '?'} on {letter.exchange or '?'}"
        row = (letter.letter_id, at, told["state"], letter.task, origin, letter.reason)
        table.add_row(*map(plain, row))
    return table
