"""CoLM beside what it replaces: a script's serial calls, and a kit that loads per round.

The same questions, prompts, weights and numbers of tokens, greedily: the published script's loop
(select, drafts, synthesis, refinement by every client, one call after another), a loop that goes
stage by stage over all questions, loading the model and running padded static batches, and CoLM:
coordinator, server and clients on RabbitMQ and PostgreSQL, all questions in flight, everything
recorded. In turn, so that whatever else the machine does falls on all alike.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks import machine
from benchmarks.peers_weights import endless_weights
from benchmarks.peers_work import PERSONAS, QUESTIONS, SERVER, Question, Tally, Work
from benchmarks.reporting import Report, parser, progress
from benchmarks.rig import THREADS, running, service_versions
from colm.db.connection import connect
from colm.db.reads import history
from colm.models.messages import Answer, Step
from colm.tasks import ask
from colm.tasks.config.settings import prepare_for_torch
from colm.workers.local_stack.stack import Stack

if TYPE_CHECKING:  # torch is imported once what it reads from the environment is set
    from benchmarks.peers_loops import StaticModel

#: Far above what an answer takes where anything works (seconds).
GIVE_UP = 3600
SYSTEMS = ("reference script", "load per round", "CoLM")


class Plan(NamedTuple):
    """How much is measured."""

    repeats: int
    questions: tuple[Question, ...]
    rounds: int
    #: A slow machine gives fewer repeats, not a longer run.
    seconds: float


FULL = Plan(repeats=3, questions=2 * QUESTIONS, rounds=2, seconds=1200)
QUICK = Plan(repeats=1, questions=QUESTIONS[1:4:2], rounds=1, seconds=1)


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    before = machine.describe()
    plan = QUICK if options.quick else FULL
    if options.repeats is not None:
        plan = plan._replace(repeats=options.repeats)
    if options.queries is not None:
        questions = tuple(islice(cycle(QUESTIONS), options.queries))
        plan = plan._replace(questions=questions)
    prepare_for_torch()
    with endless_weights() as folder, ThreadPoolExecutor(1) as pool:
        model = pool.submit(_static_model, folder)
        site = running(
            site_file(folder, options.batch), broker=options.broker, database=options.database
        )
        with site as stack:
            tallies = measure(plan, stack, model.result(), options.batch)
            versions = service_versions(stack.settings)
    report = Report("peers", settings=_settings(options, plan, tallies), machine=before)
    report.machine.update(versions)
    fill(report, tallies)
    report.publish(options.json)


def _parser() -> argparse.ArgumentParser:
    found = parser(__doc__)
    found.add_argument("--broker", metavar="URL", help="amqp://, a virtual host for this alone")
    found.add_argument("--database", metavar="URL", help="postgresql+psycopg2://, for this alone")
    found.add_argument("--repeats", type=int)
    found.add_argument("--queries", type=int, help="in flight at once; default: 16")
    found.add_argument("--batch", type=int, default=16, help="of CoLM's engines and the kit alike")
    return found


def _static_model(folder: Path) -> StaticModel:
    from benchmarks.peers_loops import StaticModel

    return StaticModel(folder)


def site_file(folder: Path, batch: int) -> str:
    """The colm.toml of CoLM's site: the clients share a process, the server has its own."""
    engine = f'{{ model = "{folder}", max_num_seqs = {batch} }}'
    stages = ("select", "draft", "synthesize", "refine", "query")
    lines = [
        f"coordinator_threads = {THREADS}",
        "[deadlines]",
        *(f"{stage} = {GIVE_UP}" for stage in stages),
        f"[servers.{SERVER}]",
        f"engine = {engine}",
    ]
    for name, (persona, domain) in PERSONAS.items():
        lines += [f"[clients.{name}]", f'persona = "{persona}"', f'domain = "{domain}"']
        lines += [f"engine = {engine}"]
    return "\n".join(lines)


def measure(plan: Plan, stack: Stack, model: StaticModel, batch: int) -> dict[str, list[Tally]]:
    """One tally of each system for every repeat."""
    from benchmarks.peers_loops import load_per_round, reference_script

    roster, url = stack.settings.roster, stack.settings.database_url
    work = Work(questions=plan.questions, roster=roster, select=2, rounds=plan.rounds)
    systems: tuple[Callable[[], Tally], ...] = (
        partial(reference_script, work, model),
        partial(load_per_round, work, model, batch),
        partial(colm, work, url),
    )
    colm(replace(work, questions=QUESTIONS[1:2], rounds=1), url)  # connections open
    found: dict[str, list[Tally]] = {name: [] for name in SYSTEMS}
    until = time.monotonic() + plan.seconds
    with progress() as bar:
        for _ in bar.track(range(plan.repeats), description="each system in turn"):
            for name, run in zip(SYSTEMS, systems, strict=True):
                found[name].append(run())
            if time.monotonic() > until:
                break
    return found


def colm(work: Work, database_url: str) -> Tally:
    """All questions in flight at once, from the first ask to the last answer."""
    options = {"select": work.select, "rounds": work.rounds, "temperature": 0}
    tally = Tally()
    started = time.perf_counter()
    asked = [
        ask.delay(question.text, strategy="colm", max_new_tokens=question.tokens, **options)
        for question in work.questions
    ]
    answers = [Answer.model_validate(result.get(timeout=GIVE_UP)) for result in asked]
    tally.seconds = time.perf_counter() - started
    for answer in answers:
        if answer.status != "answered":
            raise RuntimeError(f"query {answer.query_id} failed: {answer.reason}")
        tally.prompt_tokens += answer.tokens.prompt
        tally.completion_tokens += answer.tokens.completion
        tally.calls += calls_of(database_url, answer.query_id)
        tally.answers.append({name: a.text or "" for name, a in answer.clients.items()})
    return tally


def calls_of(database_url: str, query_id: str) -> int:
    """How many steps are recorded of a query."""
    engine = connect(database_url, pool_size=1)
    try:
        life = history.query_history(engine, query_id)
    finally:
        engine.dispose()
    return sum(isinstance(entry.what, Step) for entry in life.entries) if life else 0


def _settings(
    options: argparse.Namespace, plan: Plan, tallies: dict[str, list[Tally]]
) -> dict[str, Any]:
    return {
        "quick": options.quick,
        "queries": len(plan.questions),
        "clients": len(PERSONAS),
        "selected": 2,
        "rounds": plan.rounds,
        "batch": options.batch,
        "loads_per_round": tallies["load per round"][-1].loads,
    }


def fill(report: Report, tallies: dict[str, list[Tally]]) -> None:
    """The rows and ratios of one run."""
    for name, runs in tallies.items():
        report.measured(name, [run.seconds for run in runs], unit="s")
        rates = [run.completion_tokens / run.seconds for run in runs]
        report.measured(f"{name}, rate", rates, unit="tokens/s")
        report.measured(f"{name}, calls", [run.calls for run in runs], unit="calls")
        for kind in ("prompt", "completion"):
            counts = [getattr(run, f"{kind}_tokens") for run in runs]
            report.measured(f"{name}, {kind}s", counts, unit="tokens")
    loading = [run.loading for run in tallies["load per round"]]
    report.measured("load per round, of it loading", loading, unit="s")
    for ratio, name in (
        ("vs_reference_script", "reference script"),
        ("vs_load_per_round", "load per round"),
    ):
        report.compared(
            ratio,
            over=[
                theirs.per_token / ours.per_token
                for theirs, ours in zip(tallies[name], tallies["CoLM"], strict=True)
            ],
            under=[1.0],
            meaning=f"time of '{name}' to CoLM's, for as many tokens, repeat by repeat; aim 4",
        )


if __name__ == "__main__":
    main()
