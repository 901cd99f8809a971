"""`colm cancel`: say that a query is to end, and wait until the record says that it has."""

from __future__ import annotations

import time

from db import reads
from db.engine import connect
from models.errors import NoConsumer, UnknownQuery
from tasks.cancelling import cancel
from tasks.settings import settings
from workers.reading import whole_id

#: How long a coordinator may take (seconds), and how often the record is looked at.
WITHIN = 15.0
LOOK_EVERY = 0.05


def run_cancel(query: str, reason: str) -> str:
    """What became of it, in words. Raises UnknownQuery, or NoConsumer where nobody acts on it."""
    engine = connect(settings().database_url)
    query_id = whole_id(engine, query)
    before = reads.answer_of(engine, query_id)
    if before.status == "unknown":
        raise UnknownQuery(
            f"no query {query!r} is in the record; if it was asked just now, try again"
        )
    if before.status != "open":
        return f"query {query_id} had ended already: {before.status}"
    cancel.delay(query_id, reason)
    give_up = time.monotonic() + WITHIN
    while (found := reads.answer_of(engine, query_id)).status == "open":
        if time.monotonic() > give_up:
            raise NoConsumer(
                f"the wish to cancel query {query_id} was sent, but no coordinator has acted on it "
                "yet: start 'colm coordinator'. It is kept, and acted on then"
            )
        time.sleep(LOOK_EVERY)
    return f"query {query_id} has ended: {found.status}" + (
        f", {found.reason}" if found.reason else ""
    )
