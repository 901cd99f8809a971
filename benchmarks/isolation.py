"""What a client with bad intentions can do to a site: each attempt, and who refused it.

A private RabbitMQ and PostgreSQL, a coordinator, and a query whose step waits for the client `ab`.
The intruder is the client `a`, with the user that `colm client add` made for it. Prints the table
of docs/explanation/security.md; ends with status 1 if any attempt went through or left a trace.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pika
import psycopg2
from pika.exceptions import AMQPError, ChannelClosedByBroker

from benchmarks import isolation_attempts as attempts
from benchmarks.isolation_attempts import Attempt, Intruder
from colm.db.schema import migrate
from colm.models.messages import Step
from tests.provision import PostgresServer, RabbitMQServer, VirtualHosts
from tests.provision.postgres import plain
from tests.services.isolated import IsolatedSite, broker_of, isolated_site

#: How long the record may take to hold what a coordinator refused (seconds).
REFUSED_WITHIN = 60.0


@dataclass(frozen=True, kw_only=True)
class Line:
    """One attempt and its end."""

    what: str
    refused_by: str
    expected: str

    @property
    def held(self) -> bool:
        return self.refused_by == self.expected


def main(arguments: Sequence[str] | None = None) -> None:
    argparse.ArgumentParser(description=__doc__).parse_args(arguments)
    with _site() as site:
        lines = list(run(site))
    print("| attempt | refused by |\n|---|---|")
    for line in lines:
        print(f"| {line.what.replace('|', '/')} | {line.refused_by} |")
    wrong = [line for line in lines if not line.held]
    for line in wrong:
        print(f"EXPECTED {line.expected}: {line.what}: {line.refused_by}", file=sys.stderr)
    print(f"{len(lines)} attempts, {len(wrong)} not refused as they should be", file=sys.stderr)
    sys.exit(bool(wrong))


def run(site: IsolatedSite) -> Iterator[Line]:
    """Make every attempt. Raises AssertionError if one left a trace."""
    intruder = prepare(site)
    for attempt in (*attempts.at_the_broker(intruder), *attempts.at_the_door(intruder)):
        yield _line(attempt)
    yield from _at_the_coordinator(site, intruder)
    check_untouched(site, intruder.query_id)
    yield from _after_a_new_password(site, intruder)
    yield from _after_removal(site)
    check_untouched(site, intruder.query_id)


def prepare(site: IsolatedSite) -> Intruder:
    """Users for a and ab, a coordinator, and a step that waits for ab, whom nobody runs."""
    file = site.add("client", "a")
    site.add("client", "ab")
    site.start("coordinator")
    log = site.folder / "coordinator.log"
    site.wait_until(lambda: "reads colm.ask" in log.read_text(), timeout=90)
    query = site.submit("What waits for ab?", {"rounds": 1, "clients": ["ab"], "deadline": 600})
    site.wait_until(lambda: _waiting(site, "colm.draft.ab") == 1, timeout=90)
    return Intruder(
        url=broker_of(file), api_url=site.api_url, query_id=query, step=_step_of_ab(site, query)
    )


def check_untouched(site: IsolatedSite, query: str) -> None:
    """The victim's step still waits in its queue, and the query is open with no outcome."""
    assert _waiting(site, "colm.draft.ab") == 1
    assert _rows(site, "SELECT count(*) FROM outcomes") == [(0,)]
    assert _rows(site, "SELECT query_id FROM queries") == [(query,)]
    assert _rows(site, "SELECT open FROM progress") == [(True,)]


def _at_the_coordinator(site: IsolatedSite, intruder: Intruder) -> Iterator[Line]:
    expected = {}
    for number, (what, why, message) in enumerate(attempts.at_the_coordinator(intruder)):
        with intruder.connect() as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            attempts.send(channel, message, f"forged-{number:02d}")
        expected[f"forged-{number:02d}"] = (f"submit {what}", why)
    site.wait_until(lambda: len(_letters(site)) >= len(expected), timeout=REFUSED_WITHIN)
    letters = _letters(site)
    for message_id, (what, why) in expected.items():
        (reason,) = [r for known, r in letters if known.endswith(message_id)]
        found = f"coordinator: {reason}"
        told = f"coordinator: {why}" if why in reason else found
        yield Line(what=what, refused_by=told, expected=f"coordinator: {why}")


def _after_a_new_password(site: IsolatedSite, intruder: Intruder) -> Iterator[Line]:
    new = site.folder / "a-new.toml"
    site.manage("client", "rotate", "a", "--write", str(new))
    stale = Attempt(
        what="log in with the password before 'colm client rotate'", refused_by="login",
        do=lambda: intruder.at_login(intruder.url),
    )  # fmt: skip
    yield _line(stale)
    assert intruder.at_login(broker_of(new)) is None


def _after_removal(site: IsolatedSite) -> Iterator[Line]:
    url = broker_of(site.folder / "a-new.toml")
    intruder = Intruder(url=url, api_url=site.api_url, query_id="", step={})
    connection = intruder.connect()
    site.manage("client", "remove", "a")
    yield _line(
        Attempt(
            what="stay connected after 'colm client remove'", refused_by="connection ended",
            do=lambda: _still_there(connection),
        )
    )  # fmt: skip
    yield _line(
        Attempt(
            what="log in after 'colm client remove'", refused_by="login",
            do=lambda: intruder.at_login(url),
        )
    )  # fmt: skip


def _step_of_ab(site: IsolatedSite, query: str) -> dict[str, object]:
    entries = [entry["what"] for entry in site.life(query)["entries"]]
    (asked,) = [what for what in entries if what.get("act") == "draft" and "messages" in what]
    fields = {name: asked[name] for name in Step.model_fields if name in asked}
    step = Step.model_validate_json(json.dumps(fields))
    assert step.participant == "ab"
    return step.model_dump(mode="json")


def _still_there(connection: pika.BlockingConnection) -> str | None:
    try:
        connection.channel().queue_declare("colm.draft.a", passive=True)
    except AMQPError:
        return "connection ended"
    return None


def _line(attempt: Attempt) -> Line:
    return Line(
        what=attempt.what,
        refused_by=attempt.do() or "NOBODY: it went through",
        expected=attempt.refused_by,
    )


def _waiting(site: IsolatedSite, queue: str) -> int:
    with pika.BlockingConnection(pika.URLParameters(site.admin)) as connection:
        try:
            declared = connection.channel().queue_declare(queue, passive=True)
        except ChannelClosedByBroker:
            return 0
        return int(declared.method.message_count)


def _letters(site: IsolatedSite) -> list[tuple[str, str]]:
    return [(str(i), str(r)) for i, r in _rows(site, "SELECT message_id, reason FROM dead_letters")]


def _rows(site: IsolatedSite, query: str) -> list[tuple[object, ...]]:
    with psycopg2.connect(plain(site.database)) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


@contextmanager
def _site() -> Iterator[IsolatedSite]:
    with (
        tempfile.TemporaryDirectory(prefix="colm-isolation-") as folder,
        RabbitMQServer() as broker,
        PostgresServer() as database,
    ):
        migrate.upgrade(database.url)
        hosts = VirtualHosts(broker.url, broker.api_url)
        with (
            hosts.fresh() as vhost,
            isolated_site(Path(folder), hosts, vhost, database.url) as site,
        ):
            yield site


if __name__ == "__main__":
    main()
