"""`colm evaluator`: works on the runs that were ordered, one at a time, whoever ordered them.

Cheap while there are none: one look at the database a second. Any number may run; the database
says which of them owns a run. What an evaluator that was killed had asked goes on without it, and
whoever takes the run over finds it done.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from db import runs
from db.ends import open_queries
from db.engine import connect
from db.units import done_units
from models.errors import ColmError, InvalidAsk, TransientError
from tasks import ask, cancel
from tasks.evaluation_config import RunConfig
from tasks.settings import settings
from tasks.standing import here, started
from tasks.windows import Window, in_window, next_opening, parse_window
from workers.evaluator_data import digest_of, load, told_of, told_of_tests
from workers.evaluator_grading import grader_of
from workers.evaluator_plan import plan, planned_units
from workers.evaluator_work import GRADING_THREADS, Orders, Work

logger = logging.getLogger(__name__)

#: How often an idle evaluator looks for work (seconds).
IDLE_LOOK = 1.0
#: An evaluator that has said nothing for so long is taken to be gone, and how often it says so.
OWNED_FOR = timedelta(seconds=20)
RENEW_EVERY = 1.0


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
    for run in reversed(runs.known_runs(engine, "open")):
        now = datetime.now(UTC)
        if not in_window_of(run, now):
            continue
        if runs.take(engine, run.run, owner, now=now, until=now + OWNED_FOR, alive=is_alive):
            _work(engine, run, owner, stop)
            return True
    return False


def in_window_of(run: runs.Run, now: datetime) -> bool:
    window = run.config.get("window")
    return window is None or in_window(now, parse_window(window))


def _work(engine: Engine, run: runs.Run, owner: str, stop: threading.Event) -> None:
    """Work on a run that was taken, and give it back with what became of it."""
    logger.info("run %s taken", run.run)
    state: runs.RunState | None = None
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
    runs.give_back(engine, run.run, owner, now=datetime.now(UTC), note=note, state=state)
    logger.info("run %s given back%s", run.run, f": {note}" if note else "")


def _evaluate(engine: Engine, run: runs.Run, owner: str, stop: threading.Event) -> tuple[str, bool]:
    config = RunConfig.model_validate(run.config)
    data = load(config.data)
    if not runs.describe(
        engine,
        run.run,
        owner,
        planned=planned_units(config, data.examples),
        data=digest_of(config, data),
        at=datetime.now(UTC),
        told="; ".join(filter(None, [told_of(data.bad), told_of_tests(config, data)])),
    ):
        raise InvalidAsk(
            f"{config.data.source} is not the data that this run began with, or is read in another "
            "way since an upgrade; order a new run"
        )
    window = parse_window(config.window) if config.window else None
    keeper = Keeper(engine=engine, run=run.run, owner=owner, stop=stop, window=window)
    work = Work(
        engine=engine,
        config=config,
        left=plan(run.run, config, data.examples, done_units(engine, run.run)),
        ask=_ask,
        grade=grader_of(config, engine, _ask),
        orders=keeper.orders,
        clock=lambda: datetime.now(UTC),
    )
    with keeper.renewing():
        finished = work.go_on()
    if keeper.state == "cancelled":
        cancel_queries(engine, run.run)
    return keeper.note(), finished


def cancel_queries(engine: Engine, run: str) -> None:
    """Have every query of the run that is open ended: nobody wants its answer any more."""
    for query_id in open_queries(engine, run):
        cancel.delay(query_id, f"run {run} was cancelled")


def _ask(question: str, query_id: str, options: dict[str, Any]) -> object:
    return ask.apply_async(args=(question,), kwargs=options, task_id=query_id)


@dataclass(kw_only=True)
class Keeper:
    """Renews the ownership of a run, in its own thread, and knows what is to be done now."""

    engine: Engine
    run: str
    owner: str
    stop: threading.Event
    window: Window | None
    state: runs.RunState | None = "open"
    _ended: threading.Event = field(default_factory=threading.Event)
    _renewed: float = field(default_factory=time.monotonic)

    def orders(self) -> Orders:
        """Paused runs and closed windows let what is in flight end; all else stops at once."""
        if self.stop.is_set() or self.state not in ("open", "paused"):
            return "stop"
        if time.monotonic() - self._renewed > OWNED_FOR.total_seconds():
            return "stop"  # another may have taken it
        closed = self.window is not None and not in_window(datetime.now(UTC), self.window)
        return "drain" if self.state == "paused" or closed else "ask"

    def note(self) -> str:
        """What the run waits for."""
        now = datetime.now(UTC)
        if self.window is not None and not in_window(now, self.window):
            opens = next_opening(now, self.window).astimezone(self.window.zone)
            return f"asks nothing before {opens:%a %Y-%m-%d %H:%M %Z}"
        return ""

    @contextlib.contextmanager
    def renewing(self) -> Iterator[None]:
        thread = threading.Thread(target=self._renew, name=f"keeper of {self.run}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def _renew(self) -> None:
        pause = 0.0
        while not self._ended.wait(pause):
            pause = RENEW_EVERY
            try:
                until = datetime.now(UTC) + OWNED_FOR
                self.state = runs.renew(self.engine, self.run, self.owner, until)
                self._renewed = time.monotonic()
            except ColmError as error:
                logger.warning("run %s is not renewed: %s", self.run, error)


def this_process() -> str:
    """What names this process among all that ever ran: where, its id, and when it started."""
    return f"{here()}:{os.getpid()}:{started(os.getpid())}"


def is_alive(owner: str) -> bool:
    """False only if the process that `owner` names ran where this one does, and is gone."""
    where, _, process = owner.rpartition(":")[0].rpartition(":")
    if where != here() or not Path("/proc/self/stat").exists():
        return True
    return started(int(process)) == owner.rpartition(":")[2]
