"""A run as its report wants it: read from the record, nothing generated.

Questions and references come from the data once more, where it can still be read and is still the
same; else from the record, which knows the questions only.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from sqlalchemy import Engine, select

from colm.db.connection import autocommit, connect
from colm.db.reads import answers
from colm.db.runs import store
from colm.db.runs.progress import progress_of
from colm.db.runs.units import Unit, units_of
from colm.db.schema.tables import queries
from colm.evaluation.data.examples import Dataset
from colm.evaluation.report import report
from colm.evaluation.stats import costs
from colm.evaluation.stats.analysis import analyse, compare
from colm.evaluation.stats.cope_thresholds import ThresholdPoint
from colm.evaluation.stats.run_data import (
    ClientTexts,
    EntryData,
    ExampleData,
    RunData,
    UnitData,
    UnitStatus,
)
from colm.models.errors import ColmError, InvalidAsk
from colm.models.messages import ClientAnswer, Spent
from colm.tasks.config.run_config import RunConfig
from colm.tasks.config.settings import settings
from colm.workers.console import print_json
from colm.workers.evaluator.cope_thresholds import threshold_sweeps
from colm.workers.evaluator.data import digest_of, load
from colm.workers.evaluator.run_control import newest_name, whole_name

#: What the report calls the states of a unit.
STATUSES: Mapping[str, UnitStatus] = {
    "correct": "graded",
    "wrong": "graded",
    "unparsable": "unparsed",
    "error": "failed",
    "failed": "failed",
}


Tell = Callable[[str], None]


def read_run(engine: Engine, run: str, tell: Tell = lambda _words: None) -> RunData:
    """Everything that is to be told of a run, however far it is."""
    found = store.find(engine, run)
    config = RunConfig.model_validate(found.config)
    units = units_of(engine, run)
    data, trouble = _data(config, found)
    prices = {n: costs.TokenPrice(input=p.input, output=p.output) for n, p in config.prices.items()}
    sharing = progress_of(engine, run, datetime.now(UTC)).sharing
    saved = sharing.prompt_tokens_saved + sharing.completion_tokens_saved
    sweeps: dict[str, tuple[ThresholdPoint, ...]] = {}
    if data is not None:
        sweeps = threshold_sweeps(engine, config, units, data, prices, tell)
    return RunData(
        run=run,
        ordered=f"{found.ordered_at:%Y-%m-%d %H:%M} UTC",
        data=_data_words(config),
        machine=described(),
        notes=tuple(_notes(found, config, len(units), trouble)),
        examples=_examples(engine, units, data),
        entries=tuple(
            EntryData(name=e.name, strategy=e.strategy, options=e.model_dump(exclude_none=True))
            for e in config.entries
        ),
        units=tuple(_unit(engine, unit) for unit in units),
        baselines=config.baselines or (config.entries[0].name,),
        planned=found.units,
        prices=prices,
        bad_rows=tuple((row.where, row.reason) for row in data.bad) if data else (),
        steps_asked=sharing.steps_asked,
        steps_generated=sharing.steps_generated,
        tokens_saved=saved,
        threshold_sweeps=sweeps,
    )


def _data(config: RunConfig, found: store.Run) -> tuple[Dataset | None, str | None]:
    """The data that the run is on, or why there is none to be had."""
    try:
        data = load(config.data)
    except InvalidAsk as error:
        return None, f"references are missing: {error}"
    if found.data is not None and digest_of(config, data) != found.data:
        return None, f"references are missing: {config.data.source} has changed since"
    return data, None


def _data_words(config: RunConfig) -> str:
    data = config.data
    part = f", {data.part} part" if data.part != "all" else ""
    limit = f", {data.limit} drawn by seed {data.seed}" if data.limit else ""
    return f"{data.source.rpartition('/')[2]}{part}{limit}"


def _notes(found: store.Run, config: RunConfig, done: int, trouble: str | None) -> list[str]:
    notes = []
    if found.state != "done":
        notes.append(f"The run is {found.state}: {done} of {found.units or '?'} units are done.")
    if config.data.part == "tuning":
        notes.append("These examples are for tuning: settings may have been chosen on them.")
    return notes + ([trouble] if trouble else [])


def _examples(
    engine: Engine, units: Sequence[Unit], data: Dataset | None
) -> dict[str, ExampleData]:
    if data is not None:
        return {
            e.id: ExampleData(question=e.question, references=e.references, cluster=e.cluster)
            for e in data.examples
        }
    first = {unit.example: unit.query_id for unit in reversed(units)}
    with autocommit(engine) as connection:
        asked = select(queries.c.query_id, queries.c.question)
        asked = asked.where(queries.c.query_id.in_(tuple(first.values())))
        questions = {row.query_id: row.question for row in connection.execute(asked)}
    return {
        example: ExampleData(question=questions.get(query_id, ""))
        for example, query_id in first.items()
    }


def _unit(engine: Engine, unit: Unit) -> UnitData:
    answer = answers.answer_of(engine, unit.query_id).answer
    told = answer.clients if answer is not None else {}
    status = STATUSES[unit.status]
    stage = unit.detail.get("stage")
    return UnitData(
        entry=unit.entry,
        example=unit.example,
        seed=unit.seed,
        status=status,
        correct=unit.status == "correct" if status == "graded" else None,
        seconds=unit.seconds,
        text=answer.answer if answer is not None else None,
        extracted=unit.extracted,
        reason=unit.reason,
        ledger=tuple(Spent.model_validate(line) for line in unit.ledger),
        # Clients that nobody graded, as where a judge does, are neither right nor wrong.
        clients={
            name: _texts(client, unit.clients[name])
            for name, client in told.items()
            if name in unit.clients
        },
        stage=stage if isinstance(stage, int) else None,
        reached=answer.rounds if answer is not None and isinstance(stage, int) else None,
        accepted=unit.detail.get("accepted") is not False,
    )


def _texts(client: ClientAnswer, grades: Mapping[str, Any]) -> ClientTexts:
    def right(which: str) -> bool | None:
        status = grades.get(which)
        return status == "correct" if status in ("correct", "wrong") else None

    return ClientTexts(
        draft=right("draft"),
        refined=right("refined"),
        draft_text=client.draft,
        refined_text=client.refined,
    )


def described() -> str:
    """Processor, cores, memory and system in one line."""
    return (
        f"{processor()}, {os.cpu_count()} cores, {memory_gib():.0f} GiB,"
        f" {platform.system()} {platform.machine()}"
    )


def processor() -> str:
    """The processor's model, where the system tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def write_report(
    run: str | None, before: str | None, folder: Path | None, *, as_json: bool
) -> None:
    """Write the report of `run`, compared with `before` if given; or print its numbers as JSON.

    None is the newest run.
    """
    engine = connect(settings().database_url)
    console = Console(stderr=True)
    names = [newest_name(engine) if run is None else whole_name(engine, run)]
    names += [] if before is None else [whole_name(engine, before)]
    found = [
        read_run(engine, name, lambda words: console.print(words, style="dim")) for name in names
    ]
    if empty := [data.run for data in found if not data.units]:
        raise ColmError(f"nothing of run {empty[0]} is done yet: there is nothing to report")
    data, earlier = found[0], found[1] if len(found) > 1 else None
    if as_json:
        changes = compare(earlier, data) if earlier else ()
        told = report.as_json(data, analyse(data), before=earlier, changes=changes)
        print_json(told)
        return
    files = report.write(data, folder or Path(f"report-{_file_name(data.run)}"), before=earlier)
    for caution in files.cautions:
        console.print(caution, style="yellow")
    Console().print(f"wrote {files.html}", highlight=False, soft_wrap=True)


def _file_name(run: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", run)
