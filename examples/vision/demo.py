"""`make demo-vlm`: one question about one image, through all of CoLM.

    python -m examples.vision.demo [MODELS] [--image FILE] [--question TEXT]

Trains small models first if MODELS has none; takes a few minutes, once.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from colm.db.connection import connect
from colm.db.reads.history import History, StepOutcome, query_history
from colm.models.messages import Step
from colm.tasks.config.settings import settings
from colm.workers.cli.ask_actions import answer_or_raise, ask_and_follow
from colm.workers.cli.query_view import answer_view
from examples.vision.site import running, write_site
from examples.vision.small_vlm import Question, easy_vqa
from examples.vision.train import train_both

#: Enough for yes-or-no questions; `examples.vision.train` trains longer.
CLIENT_STEPS, SERVER_STEPS = 300, 600
QUESTION = "does the image contain a triangle?"


def run_demo(models: Path, question: Question, console: Console) -> None:
    """Starts the stack, asks through `tasks.ask.delay`, prints who saw what, stops the stack."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="colm-vision-") as folder:
        site = write_site(Path(folder), models / "client", models / "server")
        with running(site, console) as stack:
            console.print(f"ready after {time.monotonic() - started:.1f} s")
            console.print(
                f'\n[bold]tasks.ask.delay[/]("{escape(question.question)}",'
                f' images=["{escape(question.picture.name)}"], rounds=1)\n'
            )
            engine = connect(settings().database_url)
            trained = {"format_hint": "", "restate": False}  # as `small_vlm` words its chats
            query_id = ask_and_follow(
                engine,
                question.question,
                {"rounds": 1, "images": [str(question.picture)], **trained, "seed": 7},
                console,
                meanwhile=stack.watch,
            )
            console.print(answer_view(answer_or_raise(query_id)))
            life = query_history(engine, query_id)
            engine.dispose()
    assert life is not None, "it was answered"
    console.print(who_saw_what(life))
    if question.answer:
        console.print(f"right is: {question.answer}", highlight=False)


def who_saw_what(life: History) -> Table:
    """One row a step: participant, image in the prompt, reply."""
    table = Table("step", "by", "image", "said", box=None, pad_edge=False, header_style="bold")
    texts = dict(_said(life))
    for entry in life.entries:
        if isinstance(entry.what, Step):
            step = entry.what
            images = [name[:12] for turn in step.messages for name in turn.images]
            words = escape(texts.get(step.step_id, ""))
            table.add_row(step.act, step.participant, ", ".join(images) or "none", words)
    return table


def _said(life: History) -> Iterator[tuple[str, str]]:
    for entry in life.entries:
        if isinstance(entry.what, StepOutcome) and entry.what.outcome.completion is not None:
            yield entry.what.step_id, entry.what.outcome.completion.text


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("models", type=Path, nargs="?", default=Path(".cache/vision"))
    options.add_argument("--image", type=Path, help="default: one that was not trained on")
    options.add_argument("--question", default=QUESTION, help="about your own image")
    arguments = options.parse_args()
    console = Console()
    console.rule("[bold]CoLM[/]: small models look at an image together", style="dim")
    if not all((arguments.models / name / "config.json").exists() for name in ("client", "server")):
        console.print("no pretrained model is small enough: training two, once", style="dim")
        train_both(arguments.models, CLIENT_STEPS, SERVER_STEPS)
    if arguments.image is None:
        question = next(question for question in easy_vqa("test") if question.question == QUESTION)
    else:
        question = Question(arguments.question, "", arguments.image)
    run_demo(arguments.models, question, console)


if __name__ == "__main__":
    main()
