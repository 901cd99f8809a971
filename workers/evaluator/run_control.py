"""`colm evaluate` and `colm run ...`: order a run, follow it, change what becomes of it."""

from __future__ import annotations

import time
import uuid
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.live import Live
from sqlalchemy import Engine

from colm.db.connection import connect
from colm.db.runs import store
from colm.db.runs.progress import progress_of
from colm.models.errors import CallerError, ColmError, NoConsumer
from colm.tasks import evaluate
from colm.tasks.broker.queue_stats import queues_with_consumers
from colm.tasks.config.run_config import RunConfig, read_config
from colm.tasks.config.settings import settings
from colm.tasks.evaluations import run_name
from colm.workers.console import print_json
from colm.workers.evaluator.data import describe_missing_tests, load
from colm.workers.evaluator.process import cancel_queries
from colm.workers.evaluator.run_view import run_picture, runs_table

#: How often a watched run is looked at (seconds).
LOOK_EVERY = 0.5


def order_run(config: Path, name: str | None, *, follow: bool, as_json: bool) -> int:
    """Order the run that `config` describes, after a look at its data; the exit status."""
    run = place_order(read_config(config), name)
    if follow:
        return show_run(run, follow=True, as_json=as_json)
    if as_json:
        print_json({"run": run})
    else:
        Console().print(f"ordered [bold]{run}[/]: colm run show {run}", highlight=False)
    return 0


def place_order(config: RunConfig, name: str | None) -> str:
    """Order a run after a look at its data; its name, once it is recorded."""
    describe_missing_tests(config, load(config.data))
    run = name or run_name(config.name, datetime.now(UTC), uuid.uuid4().hex)
    evaluate.apply_async((config,), {"name": run})
    _await_recorded(connect(settings().database_url), run)
    return run


def list_runs(*, as_json: bool) -> None:
    engine = connect(settings().database_url)
    now = datetime.now(UTC)
    found = [(run, progress_of(engine, run.run, now)) for run in store.list_runs(engine, limit=50)]
    if as_json:
        print_json([_told(run, progress) for run, progress in found])
    else:
        Console().print(runs_table(found))


def show_run(name: str, *, follow: bool, as_json: bool) -> int:
    """Show how far a run is, once or until it ends; then 1 if it failed."""
    engine = connect(settings().database_url)
    run = store.find(engine, whole_name(engine, name))
    if follow:
        run = follow_run(engine, run)
    progress = progress_of(engine, run.run, datetime.now(UTC))
    if as_json:
        told = _told(run, progress)
        told["events"] = [asdict(event) for event in store.events(engine, run.run)]
        print_json(told)
    else:
        Console().print(run_picture(run, progress, datetime.now(UTC)))
    return 1 if follow and run.state == "failed" else 0


def change_run(name: str, what: Literal["paused", "resumed", "cancelled"]) -> None:
    engine = connect(settings().database_url)
    run = whole_name(engine, name)
    Console().print(f"run {run} is {changed(engine, run, what)}", highlight=False)


def changed(
    engine: Engine, run: str, what: Literal["paused", "resumed", "cancelled"]
) -> store.RunState:
    """Change a run's state; what it is now. A cancelled run's open queries end."""
    state = store.change(engine, run, what, datetime.now(UTC))
    if state == "cancelled":
        cancel_queries(engine, run)
    return state


def whole_name(engine: Engine, name: str) -> str:
    """The run that `name` names or begins; raises CallerError when none or several do."""
    known = [run.run for run in store.list_runs(engine)]
    found = [run for run in known if run.startswith(name)]
    if name in known:
        return name
    if len(found) == 1:
        return found[0]
    problem = f"{len(found)} runs begin with" if found else "no run begins with"
    raise CallerError(f"{problem} {name!r}; 'colm run list' lists them")


def newest_name(engine: Engine) -> str:
    """The run that was ordered last. Raises CallerError where none was."""
    for run in store.list_runs(engine, limit=1):
        return run.run
    raise CallerError("no run is in the record: `colm evaluate FILE` orders one")


def _await_recorded(engine: Engine, run: str) -> None:
    """Until a coordinator has recorded the order. Raises NoConsumer when none listens."""
    limit = settings().limits.no_consumer_timeout
    check_at = time.monotonic() + limit
    while True:
        try:
            store.find(engine, run)
        except CallerError:
            if time.monotonic() >= check_at:
                if not queues_with_consumers(["colm.ask"]):
                    raise NoConsumer(
                        f"nobody reads the queue colm.ask: start `colm coordinator`; run {run} "
                        "will be ordered then"
                    ) from None
                raise ColmError(
                    f"run {run} was not recorded; `colm dead` tells whether it was refused"
                ) from None
            time.sleep(0.05)
        else:
            return


def follow_run(engine: Engine, run: store.Run) -> store.Run:
    """Show the progress on standard error until the run ends."""
    console = Console(stderr=True)
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        while (run := store.find(engine, run.run)).state in ("open", "paused"):
            if console.is_terminal:
                now = datetime.now(UTC)
                live.update(run_picture(run, progress_of(engine, run.run, now), now))
            time.sleep(LOOK_EVERY)
    return run


def _told(run: store.Run, progress: Any) -> dict[str, Any]:
    return {**asdict(run), "done": progress.done, "progress": asdict(progress)}
