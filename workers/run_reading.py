"""A run as its report wants it: read from the record, nothing generated.

Questions and references come from the data once more, where it can still be read and is still the
same; else from the record, which knows the questions only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, select

from db import reads, runs
from db.engine import glancing
from db.run_summary import progress_of
from db.tables import queries
from db.units import Unit, units_of
from evaluation import costs
from evaluation.examples import Dataset
from evaluation.run_data import (
    ClientTexts,
    EntryData,
    ExampleData,
    RunData,
    UnitData,
    UnitStatus,
)
from evaluation.surface import Point
from models.errors import InvalidAsk
from models.messages import ClientAnswer, Spent
from tasks.evaluation_config import RunConfig
from workers.evaluator_data import digest_of, load
from workers.machine import described
from workers.run_surface import surfaces_of

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
    found = runs.find(engine, run)
    config = RunConfig.model_validate(found.config)
    units = units_of(engine, run)
    data, trouble = _data(config, found)
    prices = {n: costs.Price(input=p.input, output=p.output) for n, p in config.prices.items()}
    sharing = progress_of(engine, run, datetime.now(UTC)).sharing
    saved = sharing.prompt_tokens_saved + sharing.completion_tokens_saved
    surfaces: dict[str, tuple[Point, ...]] = {}
    if data is not None:
        surfaces = surfaces_of(engine, config, units, data, prices, tell)
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
        steps_asked=sharing.asked,
        steps_generated=sharing.generated,
        tokens_saved=saved,
        surfaces=surfaces,
    )


def _data(config: RunConfig, found: runs.Run) -> tuple[Dataset | None, str | None]:
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


def _notes(found: runs.Run, config: RunConfig, done: int, trouble: str | None) -> list[str]:
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
    with glancing(engine) as connection:
        asked = select(queries.c.query_id, queries.c.question)
        asked = asked.where(queries.c.query_id.in_(tuple(first.values())))
        questions = {row.query_id: row.question for row in connection.execute(asked)}
    return {
        example: ExampleData(question=questions.get(query_id, ""))
        for example, query_id in first.items()
    }


def _unit(engine: Engine, unit: Unit) -> UnitData:
    answer = reads.answer_of(engine, unit.query_id).answer
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
