"""The time from a restart of an evaluator to its first question.

    python -m benchmarks.pipeline.resume            # 10,000 examples, 3 entries, half of them done
    python -m benchmarks.pipeline.resume --quick    # 1,000 examples, one restart

A private PostgreSQL has a half-finished run; a private RabbitMQ takes the questions, which nothing
consumes. Measured from the start of `colm evaluator` until its first question is in the queue.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import kombu

from benchmarks.harness.report import Report, parser
from benchmarks.harness.site import processor_seconds_of
from colm.db.connection import connect, transaction
from colm.db.runs import store
from colm.db.schema import migrate
from colm.db.schema.run_tables import units
from colm.tasks.broker.topology import topology_of
from colm.tasks.config.run_config import RunConfig, read_config
from colm.tasks.config.settings import Settings
from colm.workers.evaluator.data import load
from colm.workers.evaluator.plan import plan
from tests.provision import PostgresServer, RabbitMQServer
from tests.unit.run_examples import a_unit

RUN = "night"
SITE = '[clients.ada.engine]\nkind = "scripted"\n[servers.main.engine]\nkind = "scripted"\n'


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--examples", type=int, help="default: 10,000")
    arguments.add_argument("--restarts", type=int, help="default: 5")
    options = arguments.parse_args()
    examples = options.examples or (1_000 if options.quick else 10_000)
    restarts = options.restarts or (1 if options.quick else 5)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="colm-resume-")))
        broker = stack.enter_context(RabbitMQServer(management=False)).url
        database = stack.enter_context(PostgresServer(durable=True)).url
        environment = _environment(folder, broker, database)
        config = _config(folder, examples)
        _half_done(database, config)
        taken, computed = [], []
        for _ in range(restarts):
            with _evaluator(environment, broker) as first:
                taken.append(first.seconds)
                computed.append(first.processor_seconds)
    settings = {"examples": examples, "units": 3 * examples, "done": 0.5}
    report = Report("resume", settings=settings)
    report.measured("restart to first question", taken, unit="s")
    report.measured("of it CPU time", computed, unit="s")
    report.publish(options.json)


def _config(folder: Path, examples: int) -> RunConfig:
    rows = ({"question": f"What is {n}?", "answer": str(n)} for n in range(examples))
    path = folder / "items.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    entries = [
        {"name": f"{n}-rounds", "strategy": "colm", "options": {"rounds": n}} for n in (1, 2, 3)
    ]
    return read_config({"data": {"source": str(path)}, "entries": entries, "concurrency": 8})


def _half_done(database: str, config: RunConfig) -> None:
    """Records the run as a killed evaluator leaves it."""
    migrate.upgrade(database)
    engine = connect(database)
    store.order(engine, RUN, config.model_dump(mode="json"), datetime.now(UTC))
    planned = list(plan(RUN, config, load(config.data).examples, done=()))
    rows = [
        {"run": RUN, **vars(a_unit(*p.key, query_id=p.query_id))}
        for p in planned[: len(planned) // 2]
    ]
    with transaction(engine) as connection:
        connection.execute(units.insert(), rows)
    engine.dispose()


class First(NamedTuple):
    """The first question of an evaluator: time since its start."""

    seconds: float
    #: CPU time of the evaluator until then.
    processor_seconds: float


def _environment(folder: Path, broker: str, database: str) -> dict[str, str]:
    (folder / "colm.toml").write_text(SITE)
    # Without bytecode caches every start would compile all modules.
    caches = "PYTHONDONTWRITEBYTECODE"
    variables = {k: v for k, v in os.environ.items() if not k.startswith("COLM_") and k != caches}
    return {
        **variables,
        "COLM_CONFIG": str(folder / "colm.toml"),
        "COLM_HOME": str(folder / "home"),
        "COLM_BROKER": broker,
        "COLM_DATABASE": database,
    }


@contextmanager
def _evaluator(environment: dict[str, str], broker: str) -> Iterator[First]:
    """Starts an evaluator, waits for its first question, and kills it."""
    with kombu.Connection(broker) as connection:
        channel = connection.default_channel
        queue = topology_of(Settings()).ask()(channel)
        queue.declare()
        queue.purge()  # questions of the killed evaluator
        started = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "colm.workers", "evaluator"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            while queue.get(no_ack=True) is None:
                if process.poll() is not None:
                    raise SystemExit(f"the evaluator ended with status {process.returncode}")
                time.sleep(0.005)
            yield First(time.monotonic() - started, processor_seconds_of(process.pid))
        finally:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
