"""`colm evaluator`: works on the runs that were ordered, one at a time, whoever ordered them.

Cheap while there are none: one look at the database a second. Any number may run; the database
says which of them owns a run. What an evaluator that was killed had asked goes on without it, and
whoever takes the run over finds it done.
"""

from __future__ import annotations

import logging
import signal
import threading
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine

from colm.db.connection import connect
from colm.db.reads.answers import open_queries
from colm.db.runs import store
from colm.db.runs.units import completed_units
from colm.models.errors import InvalidAsk, TransientError
from colm.tasks import ask, cancel
from colm.tasks.config.run_config import RunConfig
from colm.tasks.config.settings import settings
from colm.tasks.config.time_windows import in_window, parse_window
from colm.workers.evaluator.data import describe_bad_rows, describe_missing_tests, digest_of, load
from colm.workers.evaluator.grading import grader_of
from colm.workers.evaluator.lease import OWNED_FOR, RunLease, is_alive, this_process
from colm.workers.evaluator.plan import plan, planned_units
from colm.workers.evaluator.run_loop import GRADING_THREADS, RunLoop

logger = logging.getLogger(__name__)


#: How often an idle evaluator looks for work (seconds).
IDLE_LOOK = 1.0


def run_evaluator() -> int:
    """Evaluate until SIGTERM or Ctrl-C; the exit status."""
    stop = threading.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, lambda *_: stop.set())
    engine = connect(settings().database_url, pool_size=GRADING_THREADS + 2)
    owner = this_process()
    logger.info("%s looks for runs in %s", owner, settings().shown_database)
    while not stop.is_set():
        try:
            if not work_on_one(engine, owner, stop):
                stop.wait(IDLE_LOOK)
        except TransientError as error:
            logger.warning("runs wait: %s", error)
            stop.wait(IDLE_LOOK)
    engine.dispose()
    return 0


def work_on_one(engine: Engine, owner: str, stop: threading.Event) -> bool:
    """Work on the oldest run that is open and nobody's; False when there was none."""
    for run in reversed(store.list_runs(engine, "open")):
        now = datetime.now(UTC)
        if not in_window_of(run, now):
            continue
        if store.acquire(engine, run.run, owner, now=now, until=now + OWNED_FOR, alive=is_alive):
            _work(engine, run, owner, stop)
            return True
    return False


def in_window_of(run: store.Run, now: datetime) -> bool:
    window = run.config.get("window")
    return window is None or in_window(now, parse_window(window))


def _work(engine: Engine, run: store.Run, owner: str, stop: threading.Event) -> None:
    """Work on a run that was taken, and give it back with what became of it."""
    logger.info("run %s taken", run.run)
    state: store.RunState | None = None
    try:
        note, finished = _evaluate(engine, run, owner, stop)
        state = "done" if finished else None
    except InvalidAsk as error:
        note, state = str(error), "failed"
    except TransientError:
        raise
    except Exception as error:  # one run's fault must not keep the others from being worked on
        logger.exception("run %s cannot be worked on", run.run)
        note, state = f"the evaluator failed: {error!r}", "failed"
    store.release(engine, run.run, owner, now=datetime.now(UTC), note=note, state=state)
    logger.info("run %s given back%s", run.run, f": {note}" if note else "")


def _evaluate(
    engine: Engine, run: store.Run, owner: str, stop: threading.Event
) -> tuple[str, bool]:
    config = RunConfig.model_validate(run.config)
    data = load(config.data)
    if not store.set_plan(
        engine,
        run.run,
        owner,
        planned=planned_units(config, data.examples),
        data=digest_of(config, data),
        at=datetime.now(UTC),
        summary="; ".join(
            filter(None, [describe_bad_rows(data.bad), describe_missing_tests(config, data)])
        ),
    ):
        raise InvalidAsk(
            f"{config.data.source} is not the data that this run began with, or is read in another "
            "way since an upgrade; order a new run"
        )
    window = parse_window(config.window) if config.window else None
    keeper = RunLease(engine=engine, run=run.run, owner=owner, stop=stop, window=window)
    work = RunLoop(
        engine=engine,
        config=config,
        left=plan(run.run, config, data.examples, completed_units(engine, run.run)),
        ask=_ask,
        grade=grader_of(config, engine, _ask),
        orders=keeper.orders,
        clock=lambda: datetime.now(UTC),
    )
    with keeper.renewing():
        finished = work.run()
    if keeper.state == "cancelled":
        cancel_queries(engine, run.run)
    return keeper.note(), finished


def cancel_queries(engine: Engine, run: str) -> None:
    """Have every query of the run that is open ended: nobody wants its answer any more."""
    for query_id in open_queries(engine, run):
        cancel.delay(query_id, f"run {run} was cancelled")


def _ask(question: str, query_id: str, options: dict[str, Any]) -> object:
    return ask.apply_async(args=(question,), kwargs=options, task_id=query_id)
