"""What a coordinator looks at before it takes any work: the cheap checks of `colm doctor`.

It does not start with a broker that it was not made for, or on a database that lacks migrations;
queues with other arguments stop it when it declares them. Anything else is logged, with what to do.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from colm.models.errors import ColmError, TransientError
from colm.tasks.broker.capabilities import broker_of
from colm.tasks.config.settings import Settings
from colm.workers.doctor import broker, database, machine
from colm.workers.doctor.findings import Finding, Findings
from colm.workers.rabbitmq.permission_probe import connect_with_retry

logger = logging.getLogger(__name__)

#: Findings with which nothing goes well; by what they are about.
FATAL = {"broker", "migrations"}


def preflight(found: Settings) -> None:
    """Raises ColmError for what a coordinator must not start with; logs the rest.

    Waits for a broker that is away, but not for a database: queries wait for that one by query.
    """
    raise_if_fatal(_database(found))
    raise_if_fatal(machine.disks(found))
    if broker_of(found).amqp:
        with connect_with_retry(found) as connection:
            raise_if_fatal([broker.version(connection), broker.consumer_timeout(found, None)])


def raise_if_fatal(findings: Iterable[Finding]) -> None:
    """Log what is not well. Raises ColmError for a problem that is fatal."""
    for finding in findings:
        if finding.grade == "ok":
            continue
        told = f"{finding.about}: {finding.found}; {finding.do}"
        if finding.grade == "problem" and finding.about in FATAL:
            raise ColmError(told)
        logger.warning("%s", told)


def _database(found: Settings) -> Findings:
    try:
        yield from database.database(found)
    except TransientError as error:
        logger.warning("the database is not looked at: %s", error)
