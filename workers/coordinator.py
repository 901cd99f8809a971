"""`colm coordinator`: the record, the strategy and the broker, wired together in one process.

Beside the Celery worker run four threads: the clockwork, which wakes queries at their deadlines;
the marks, which note in groups what was dispatched; control, which hears what is to be cancelled;
and, on RabbitMQ, the dead letter reader.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

from amqp.exceptions import AMQPError, PreconditionFailed
from kombu.exceptions import OperationalError

from db import runs
from db.engine import connect
from db.record import SqlRecord
from models.attempts import AttemptLimits
from models.errors import ColmError, TransientError
from models.messages import Answer
from tasks import runtime
from tasks.celery_app import app
from tasks.coordination import Coordinator
from tasks.evaluations import install_orders
from tasks.publishing import send_step, send_stop, topology
from tasks.reaching import undeclarable
from tasks.settings import Settings, settings
from tasks.topology import declare
from workers.audit import sealer
from workers.celery_worker import serve, worker_name
from workers.control import ControlReader
from workers.dead_letters import DeadLetterReader
from workers.marks import GroupedMarks
from workers.parking import Parking
from workers.redelivery import take_back_unacked
from workers.reliability import watch
from workers.rights import waited_for
from workers.sharing import Sharing
from workers.starting import check_start

logger = logging.getLogger(__name__)

#: How often deadlines are looked at, and how many looks lie between two for stranded steps.
TICK = 0.25
STRANDED_EVERY = 20


#: Connections that a coordinator publishes through; docs/security.md counts them.
PUBLISHING = 4


class Clockwork:
    """Wakes due queries and publishes stranded steps, in its own thread, until `close`."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="clockwork", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5.0)

    def _loop(self) -> None:
        ticks = 0
        while not self._stop.wait(TICK):
            ticks += 1
            try:
                self._coordinator.wake_due()
                if ticks % STRANDED_EVERY == 0:
                    self._coordinator.republish_stranded()
            except TransientError as error:
                logger.warning("deadlines wait: %s", error)
            except Exception:  # the outermost loop: deadlines must go on
                logger.exception("a deadline could not be handled")


class FlowerAnnouncer:
    """Tells Flower when a query ended: its ask shows as succeeded or failed, with its runtime."""

    def refused(self, query_id: str, reason: str) -> None:
        self._send("task-failed", query_id, exception=f"InvalidAsk({reason!r})", traceback="")

    def ended(self, answer: Answer) -> None:
        if answer.status == "failed":
            reason = f"QueryFailed({answer.reason!r})"
            self._send("task-failed", answer.query_id, exception=reason, traceback="")
            return
        tokens = answer.tokens.prompt + answer.tokens.completion
        result = f"answered by {answer.chosen}, rounds: {answer.rounds}, tokens: {tokens}"
        self._send("task-succeeded", answer.query_id, result=result, runtime=answer.seconds)

    def _send(self, kind: str, query_id: str, **fields: object) -> None:
        try:
            with app.events.default_dispatcher(hostname=worker_name("coordinator")) as events:
                events.send(kind, uuid=query_id, **fields)
        except (OperationalError, AMQPError, OSError) as error:
            logger.warning("Flower was not told about query %s: %s", query_id, error)


def run_coordinator() -> int:
    """Coordinate until SIGTERM; the exit status."""
    found = settings()
    check_start(found)
    app.conf.broker_pool_limit = PUBLISHING
    with _installed(found):
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
            if not settings().embedded:  # which keeps no dead letters and has no streams
                wanted = (*wanted, topology().parked(), *topology().all_stops())
            declare(connection.default_channel, wanted)
        except PreconditionFailed as error:
            raise ColmError(f"{undeclarable(error)}. RabbitMQ said: {error}") from error


@contextlib.contextmanager
def _installed(found: Settings) -> Iterator[Coordinator]:
    declare_topology()
    # A connection for every task thread, the clockwork, marks, control, letters, shared steps,
    # reliability, the sealer.
    engine = connect(found.database_url, pool_size=found.coordinator_threads + 7)
    record = SqlRecord(engine)
    marks = GroupedMarks(record)
    sharing = Sharing(engine, send_step)
    coordinator = Coordinator(
        record=record,
        roster=found.roster,
        send=sharing.send,
        stop=send_stop,
        mark=marks,
        announce=FlowerAnnouncer(),
        clock=lambda: datetime.now(UTC),
        limits=AttemptLimits(in_company=found.limits.attempts, alone=found.limits.attempts_alone),
    )
    runtime.install_coordinator(coordinator, record)
    install_orders(partial(runs.order, engine))
    sharing.start(coordinator.submit)
    reliability = watch(engine, coordinator.roster)
    clockwork = Clockwork(coordinator)
    sealing = sealer(found, engine)
    if found.embedded:
        take_back_unacked([topology().control().name])
    control = ControlReader(app.connection_for_read(), topology().control(), coordinator)
    control.start()
    reader = None
    if not found.embedded:
        parking = Parking(topology())
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
        if sealing:
            sealing.close()
        sharing.close()
        control.close()
        if reader:
            reader.close()
        marks.close()
        engine.dispose()
