"""COPE's thresholds replayed on the samples of a run; nothing is generated, texts are graded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from sqlalchemy import Engine

from colm.db.reads.history import QueryAsked, StepOutcome, query_history
from colm.db.runs.units import Unit
from colm.evaluation import grading
from colm.evaluation.data.examples import Dataset, Example
from colm.evaluation.stats.cope_thresholds import (
    StoredSamples,
    ThresholdPoint,
    full_sweep,
    nothing_stored,
    stored_of,
)
from colm.evaluation.stats.costs import TokenPrice
from colm.models.messages import Query, Step
from colm.models.sandbox import runner
from colm.models.strategies.base import Decision, Outcome, QueryState, StepState
from colm.models.strategies.cope.strategy import CopeOptions
from colm.tasks.config.run_config import Entry, RunConfig
from colm.workers.evaluator.grading import limits_of

GRADING_THREADS = 2


def takes_all_stages(entry: Entry) -> bool:
    """Whether every query of the entry has samples of every stage, to be replayed."""
    if entry.strategy != "cope":
        return False
    options = CopeOptions.model_validate(entry.options)
    if options.confidence == "perplexity":  # which t1 and t2 do not hold back
        return False
    return (options.t1, options.t2, options.comparison) == (1.0, 1.0, ">")


def threshold_sweeps(
    engine: Engine,
    config: RunConfig,
    units: Sequence[Unit],
    data: Dataset,
    prices: Mapping[str, TokenPrice],
    tell: Callable[[str], None],
) -> dict[str, tuple[ThresholdPoint, ...]]:
    """A surface for each entry whose samples are complete; none where a judge would have to be
    asked about each of them. Queries that failed count as not right, as everywhere."""
    examples = {example.id: example for example in data.examples}
    found: dict[str, tuple[ThresholdPoint, ...]] = {}
    if config.grader.kind == "judge":
        return found
    for entry in (entry for entry in config.entries if takes_all_stages(entry)):
        mine = [u for u in units if u.entry == entry.name]
        if not mine:
            continue
        tell(f"replaying {len(mine)} queries of {entry.name}")
        options = CopeOptions.model_validate(entry.options)
        one = partial(_stored, engine, config, options, prices)
        with ThreadPoolExecutor(GRADING_THREADS) as pool:
            stored = list(pool.map(one, mine, [examples[u.example] for u in mine]))
        found[entry.name] = tuple(full_sweep(stored, options.n, options.confidence))
    return found


def _stored(
    engine: Engine,
    config: RunConfig,
    options: CopeOptions,
    prices: Mapping[str, TokenPrice],
    unit: Unit,
    example: Example,
) -> StoredSamples:
    kind = options.kind or example.kind
    try:
        state = state_of(engine, unit.query_id)
    except LookupError:  # it could not be asked
        return nothing_stored(unit.query_id, kind)
    check = partial(runner.run, limits=limits_of(config.grader))

    def is_right(text: str) -> bool:
        grader = config.grader.kind
        return grading.grade(example, text, grader=grader, check=check).correct is True

    return stored_of(state, kind=kind, is_right=is_right, prices=prices, question=example.question)


def state_of(engine: Engine, query_id: str) -> QueryState:
    """A query as its strategy saw it in the end. Raises LookupError where there is none."""
    life = query_history(engine, query_id)
    query: Query | None = None
    steps: dict[str, tuple[Step, StepState]] = {}
    outcomes: dict[str, Outcome] = {}
    decisions = []
    for entry in life.entries if life else ():
        match entry.what:
            case QueryAsked(query=asked):
                query = asked
            case Step() as step:
                steps[step.step_id] = (step, StepState(step=step, asked_at=entry.at))
            case StepOutcome(step_id=step_id, outcome=outcome) if outcome.status != "late":
                outcomes[step_id] = outcome
            case Decision() as decision:
                decisions.append(decision)
    if query is None:
        raise LookupError(f"the record tells nothing of query {query_id}")
    told = tuple(
        StepState(step=step, asked_at=state.asked_at, outcome=outcomes.get(step_id))
        for step_id, (step, state) in steps.items()
    )
    return QueryState(query=query, steps=told, decisions=tuple(decisions))
