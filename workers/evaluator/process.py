"""`colm evaluator`: works on ordered runs, one at a time.

Polls the database once a second. Any number of evaluators may run; a lease in the database gives a
run to one of them. Queries of a killed evaluator continue, and the next owner finds them done.
"""

from __future__ import annotations

import logging
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
from colm.workers.supervisor import stop_event

logger = logging.getLogger(__name__)

#: Poll interval of an idle evaluator (seconds).
IDLE_POLL = 1.0


def run_evaluator() -> int:
    """Work until SIGTERM or Ctrl-C; the exit status."""
    stop = stop_event()
    engine = connect(settings().database_url, pool_size=GRADING_THREADS + 2)
    owner = this_process()
    logger.info("evaluator %s polls %s", owner, settings().shown_database)
    while not stop.is_set():
        try:
            if not work_on_one(engine, owner, stop):
                stop.wait(IDLE_POLL)
        except TransientError as error:
            logger.warning("runs wait: %s", error)
            stop.wait(IDLE_POLL)
    engine.dispose()
    return 0


def work_on_one(engine: Engine, owner: str, stop: threading.Event) -> bool:
    """Work on the oldest open run without an owner; False if there is none."""
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
    """Work on a leased run and release it with its new state."""
    logger.info("run %s taken", run.run)
    state: store.RunState | None = None
    try:
        note, finished = _evaluate(engine, run, owner, stop)
        state = "done" if finished else None
    except InvalidAsk as error:
        note, state = str(error), "failed"
    except TransientError:
        raise
    except Exception as error:  # other runs must go on
        logger.exception("run %s cannot be evaluated", run.run)
        note, state = f"the evaluator failed: {error!r}", "failed"
    store.release(engine, run.run, owner, now=datetime.now(UTC), note=note, state=state)
    logger.info("run %s released%s", run.run, f": {note}" if note else "")


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
            f"{config.data.source} has changed since this run began, or an upgrade reads it "
            "differently: order a new run"
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
    """Cancel every open query of the run."""
    for query_id in open_queries(engine, run):
        cancel.delay(query_id, f"run {run} was cancelled")


def _ask(question: str, query_id: str, options: dict[str, Any]) -> object:
    return ask.apply_async(args=(question,), kwargs=options, task_id=query_id)
