"""The checks of `colm doctor` that a starting coordinator makes.

An unsupported broker or missing migrations stop it. Everything else is logged.
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

#: Subjects of findings that stop a coordinator.
FATAL = {"broker", "migrations"}


def preflight(config: Settings) -> None:
    """Raises ColmError for a fatal finding; logs the rest.

    Waits for the broker, not for the database: each query waits for that one.
    """
    raise_if_fatal(_database(config))
    raise_if_fatal(machine.disks(config))
    if broker_of(config).amqp:
        with connect_with_retry(config) as connection:
            raise_if_fatal([broker.version(connection), broker.consumer_timeout(config, None)])


def raise_if_fatal(findings: Iterable[Finding]) -> None:
    """Logs findings. Raises ColmError for a fatal problem."""
    for finding in findings:
        if finding.grade == "ok":
            continue
        message = f"{finding.about}: {finding.detail}; {finding.do}"
        if finding.grade == "problem" and finding.about in FATAL:
            raise ColmError(message)
        logger.warning("%s", message)


def _database(config: Settings) -> Findings:
    try:
        yield from database.database(config)
    except TransientError as error:
        logger.warning("the database is not checked: %s", error)
