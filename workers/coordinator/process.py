"""`colm coordinator`: a Celery worker with the record, the strategies and the broker.

Threads beside the worker: deadlines, dispatch marks, shared steps and cancellations; on RabbitMQ
dead letters; where the site uses them, client reliability and sealing.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

from amqp.exceptions import PreconditionFailed

from colm.db.connection import connect
from colm.db.record.store import SqlRecord
from colm.db.runs import store
from colm.models.errors import ColmError
from colm.models.redelivery import AttemptLimits
from colm.tasks import dependencies
from colm.tasks.broker.capabilities import broker, broker_of
from colm.tasks.broker.connection import declare_hint
from colm.tasks.broker.publish import send_cancellation, send_step, topology
from colm.tasks.broker.topology import declare
from colm.tasks.celery_app import app
from colm.tasks.config.settings import Settings, settings
from colm.workers.audit.checkpoints import start_checkpoints
from colm.workers.consumer.embedded_redelivery import restore_unacked
from colm.workers.consumer.worker import serve, worker_name
from colm.workers.coordinator.cancellations import ControlReader
from colm.workers.coordinator.client_reliability import watch
from colm.workers.coordinator.coordinator import Coordinator
from colm.workers.coordinator.dead_letters import DeadLetterReader
from colm.workers.coordinator.deadlines import DeadlinePoller
from colm.workers.coordinator.deduplication import StepDeduplicator
from colm.workers.coordinator.dispatch_marks import DispatchMarkBuffer
from colm.workers.coordinator.flower_events import FlowerAnnouncer
from colm.workers.coordinator.parking_lot import ParkingLot
from colm.workers.doctor.preflight import preflight
from colm.workers.rabbitmq.permission_probe import waited_for

logger = logging.getLogger(__name__)

#: Connections for publishing; docs/how-to/secure-a-site.md counts them.
PUBLISHING = 4


def run_coordinator() -> int:
    """Coordinate until SIGTERM; the exit status."""
    site = settings()
    preflight(site)
    app.conf.broker_pool_limit = PUBLISHING
    with running_coordinator(site):
        return serve(
            worker_name("coordinator"), topology().of_coordinator(), site.coordinator_threads
        )


def declare_topology() -> None:
    """Declare every exchange and queue, once the broker is reachable. Raises ColmError."""
    waited_for(settings(), _declare)


def _declare() -> None:
    with app.connection_for_write() as connection:
        try:
            entities = (*topology().everything(), topology().control())
            if broker().dead_letters:
                entities = (*entities, topology().parked())
            if broker().streams:
                entities = (*entities, *topology().all_step_cancellations())
            declare(connection.default_channel, entities)
        except PreconditionFailed as error:
            raise ColmError(f"{declare_hint(error)}. RabbitMQ said: {error}") from error


@contextlib.contextmanager
def running_coordinator(site: Settings) -> Iterator[Coordinator]:
    """A coordinator with its threads, installed for the task bodies of this process."""
    declare_topology()
    # A connection for every task thread and for each of the seven threads.
    engine = connect(site.database_url, pool_size=site.coordinator_threads + 7)
    record = SqlRecord(engine)
    marks = DispatchMarkBuffer(record)
    sharing = StepDeduplicator(engine, send_step, site.adapter_of)
    coordinator = Coordinator(
        record=record,
        roster=site.roster,
        send=sharing.send,
        stop=send_cancellation,
        mark=marks,
        announce=FlowerAnnouncer(),
        clock=lambda: datetime.now(UTC),
        limits=AttemptLimits(
            in_company=site.limits.max_redeliveries, alone=site.limits.max_isolated_runs
        ),
    )
    dependencies.install_coordinator(coordinator, record, partial(store.order, engine))
    sharing.start(coordinator.submit)
    reliability = watch(engine, coordinator.roster)
    deadlines = DeadlinePoller(coordinator)
    checkpoints = start_checkpoints(site, engine)
    if not broker_of(site).redelivers_unacked:
        restore_unacked([topology().control().name])
    control = ControlReader(app.connection_for_read(), topology().control(), coordinator)
    control.start()
    reader = None
    if broker_of(site).dead_letters:
        parking = ParkingLot(topology())
        reader = DeadLetterReader(
            app.connection_for_read(), topology(), coordinator, record, parking
        )
        reader.start()
    try:
        yield coordinator
    finally:
        deadlines.close()
        if reliability:
            reliability.close()
        if checkpoints:
            checkpoints.close()
        sharing.close()
        control.close()
        if reader:
            reader.close()
        marks.close()
        engine.dispose()
