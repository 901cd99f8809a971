"""`colm coordinator`: the record, the strategy and the broker, wired together in one process.

Beside the Celery worker run four threads: the clockwork, which wakes queries at their deadlines;
the marks, which note in groups what was dispatched; control, which hears what is to be cancelled;
and, on RabbitMQ, the dead letter reader.
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


#: Connections that a coordinator publishes through; docs/how-to/secure-a-site.md counts them.
PUBLISHING = 4


def run_coordinator() -> int:
    """Coordinate until SIGTERM; the exit status."""
    found = settings()
    preflight(found)
    app.conf.broker_pool_limit = PUBLISHING
    with running_coordinator(found):
        return serve(
            worker_name("coordinator"), topology().of_coordinator(), found.coordinator_threads
        )


def declare_topology() -> None:
    """Declare every exchange and queue of the settings, as soon as the broker is there.

    Raises ColmError on a conflict.
    """
    waited_for(settings(), _declare)


def _declare() -> None:
    with app.connection_for_write() as connection:
        try:
            wanted = (*topology().everything(), topology().control())
            if broker().dead_letters:
                wanted = (*wanted, topology().parked())
            if broker().streams:
                wanted = (*wanted, *topology().all_step_cancellations())
            declare(connection.default_channel, wanted)
        except PreconditionFailed as error:
            raise ColmError(f"{declare_hint(error)}. RabbitMQ said: {error}") from error


@contextlib.contextmanager
def running_coordinator(found: Settings) -> Iterator[Coordinator]:
    declare_topology()
    # A connection for every task thread, the clockwork, marks, control, letters, shared steps,
    # reliability, checkpoints.
    engine = connect(found.database_url, pool_size=found.coordinator_threads + 7)
    record = SqlRecord(engine)
    marks = DispatchMarkBuffer(record)
    sharing = StepDeduplicator(engine, send_step)
    coordinator = Coordinator(
        record=record,
        roster=found.roster,
        send=sharing.send,
        stop=send_cancellation,
        mark=marks,
        announce=FlowerAnnouncer(),
        clock=lambda: datetime.now(UTC),
        limits=AttemptLimits(
            in_company=found.limits.max_redeliveries, alone=found.limits.max_isolated_runs
        ),
    )
    dependencies.install_coordinator(coordinator, record, partial(store.order, engine))
    sharing.start(coordinator.submit)
    reliability = watch(engine, coordinator.roster)
    clockwork = DeadlinePoller(coordinator)
    checkpoints = start_checkpoints(found, engine)
    if not broker_of(found).redelivers_unacked:
        restore_unacked([topology().control().name])
    control = ControlReader(app.connection_for_read(), topology().control(), coordinator)
    control.start()
    reader = None
    if broker_of(found).dead_letters:
        parking = ParkingLot(topology())
        reader = DeadLetterReader(
            app.connection_for_read(), topology(), coordinator, record, parking
        )
        reader.start()
    try:
        yield coordinator
    finally:
        clockwork.close()
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
