"""Evaluates collaboration between vision-language models, on the queue and on real images.

    python -m examples.vision.run MODELS OUT [--items 200]

MODELS is the output of `examples.vision.train`. OUT gets data set, site, record and report. All
strategies are asked the same questions about images that no model was trained on.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from sqlalchemy import Engine

from colm.db.connection import connect
from colm.db.runs import store
from colm.db.runs.progress import progress_of
from colm.evaluation.report.markdown import table
from colm.evaluation.report.number_format import interval, points
from colm.evaluation.report.report import write
from colm.evaluation.stats.analysis import Analysis, analyse
from colm.evaluation.stats.run_data import RunData
from colm.models.errors import CallerError, ColmError
from colm.tasks import evaluate
from colm.tasks.config.run_config import RunConfig, read_config
from colm.tasks.config.settings import settings
from colm.workers.evaluator.report import read_run
from colm.workers.local_stack.stack import Stack
from examples.vision.site import CLIENTS, running, write_site
from examples.vision.small_vlm import easy_vqa

#: Without it, prompts would contain words that the models have not learned.
PLAIN = {"format_hint": ""}
#: Entries whose clients refine, with the control: as many calls, no guidance.
REFINED = ("colm", "colm-no-synthesis", "resample")
LOOK_EVERY = 0.5


def write_questions(path: Path, items: int, seed: int = 0) -> Path:
    """Writes `items` test questions, drawn by `seed`; returns the folder of their images.

    Questions about one image are a cluster: they depend on each other.
    """
    unseen = list(dict.fromkeys(easy_vqa("test")))
    drawn = random.Random(seed).sample(unseen, min(items, len(unseen)))
    rows = [
        {
            "question": question.question,
            "answer": question.answer,
            "kind": "vqa",
            "images": question.picture.name,
            "cluster": question.picture.stem,
        }
        for question in drawn
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return unseen[0].picture.parent


def evaluation_of(questions: Path, images: Path) -> RunConfig:
    """Each participant alone, both variants of CoLM, and a control of equal cost."""

    def entry(name: str, strategy: str, **options: Any) -> dict[str, Any]:
        return {"name": name, "strategy": strategy, "options": {**PLAIN, **options}}

    return read_config(
        {
            "name": "vision",
            "data": {"source": str(questions), "images": str(images)},
            "baselines": ["ada", "server"],
            "entries": [
                *[entry(name, "single", participant=name) for name in CLIENTS],
                entry("server", "single", participant="main"),
                # As in the training of `small_vlm`.
                entry("colm", "colm", rounds=1, restate=False),
                entry("colm-no-synthesis", "colm", rounds=1, synthesis=False),
                entry("resample", "resample", calls=2),
                entry("vote", "vote", n=4),
                entry("cope", "cope", n=4),
            ],
        }
    )


def await_run(engine: Engine, run: str, stack: Stack, console: Console) -> None:
    """Waits for the run's end. Raises ColmError for a failed run."""
    bar = Progress(
        "{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=console,
    )  # fmt: skip
    with bar:
        task = bar.add_task("queries", total=None)
        while True:
            stack.watch()
            try:
                row = store.find(engine, run)
            except CallerError:  # the coordinator has not read the order yet
                time.sleep(LOOK_EVERY)
                continue
            done = progress_of(engine, run, datetime.now(UTC)).done
            bar.update(task, completed=done, total=row.units)
            if row.state not in ("open", "paused"):
                break
            time.sleep(LOOK_EVERY)
    if row.state != "done":
        raise ColmError(f"run {run} is {row.state}: {row.note}")


def report_text(data: RunData, analysis: Analysis, seconds: float) -> str:
    """The run's figures as Markdown tables."""
    return "\n".join(
        [
            table("entry", "right", "accuracy", "calls", "median s", rows=_accuracies(analysis)),
            "",
            table(
                "entry", "client", "drafts right", "refined right", "recovery",
                "regression", "recovery above the control, points", rows=_changes(analysis),
            ),
            "",
            f"{len(data.examples)} questions, {len(data.units)} queries, {data.steps_generated}"
            f" steps in {seconds:.0f} s on {os.cpu_count()} cores; intervals at 95 %.",
        ]
    )  # fmt: skip


def _accuracies(analysis: Analysis) -> Iterator[Sequence[str]]:
    for row in analysis.entries:
        calls, right = f"{row.cost.calls / row.n:.1f}", f"{row.right} of {row.n}"
        yield row.name, right, interval(row.accuracy), calls, f"{row.seconds:.2f}"


def _changes(analysis: Analysis) -> Iterator[Sequence[str]]:
    """Each client's changes from draft to refined answer, and those of the control."""
    for row in analysis.clients:
        change, beside = row.change, row.controlled
        above = beside.above_chance if beside else None
        if row.entry in REFINED:
            yield (
                row.entry, row.client, interval(change.alone), interval(change.after),
                interval(change.recovery), interval(change.regression),
                points(above.gain if above else None),
            )  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("models", type=Path, help="a folder that holds client and server")
    options.add_argument("out", type=Path)
    options.add_argument("--items", type=int, default=200)
    arguments = options.parse_args()
    console = Console()
    site = write_site(arguments.out, arguments.models / "client", arguments.models / "server")
    questions = arguments.out / "questions.jsonl"
    config = evaluation_of(questions, write_questions(questions, arguments.items))
    started = time.monotonic()
    with running(site, console) as stack:
        engine = connect(settings().database_url)
        run = str(evaluate.delay(config).id)
        await_run(engine, run, stack, console)
    data = read_run(engine, run)
    analysis = analyse(data)
    files = write(data, arguments.out / "report")
    engine.dispose()
    text = report_text(data, analysis, time.monotonic() - started)
    (arguments.out / "summary.md").write_text(text + "\n")
    console.print(text, highlight=False, soft_wrap=True)
    console.print(f"wrote {files.html}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
