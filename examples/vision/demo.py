"""`make demo-vlm`: one question about one image, through the whole of CoLM.

    python -m examples.vision.demo [MODELS] [--image FILE] [--question TEXT]

Trains small models first where MODELS holds none; a few minutes, once.
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
from examples.vision.small_vlm import Asked, easy_vqa
from examples.vision.train import train_both

#: Enough for questions of yes or no; `examples.vision.train` trains for longer.
CLIENT_STEPS, SERVER_STEPS = 300, 600
QUESTION = "does the image contain a triangle?"


def run_demo(models: Path, one: Asked, console: Console) -> None:
    """Stack up, the question through `tasks.ask.delay`, who saw what, stack down."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="colm-vision-") as folder:
        site = write_site(Path(folder), models / "client", models / "server")
        with running(site, console) as stack:
            console.print(f"ready after {time.monotonic() - started:.1f} s")
            console.print(
                f'\n[bold]tasks.ask.delay[/]("{escape(one.question)}",'
                f' images=["{escape(one.picture.name)}"], rounds=1)\n'
            )
            engine = connect(settings().database_url)
            trained = {"format_hint": "", "restate": False}  # as `small_vlm` words its chats
            query_id = ask_and_follow(
                engine,
                one.question,
                {"rounds": 1, "images": [str(one.picture)], **trained, "seed": 7},
                console,
                meanwhile=stack.watch,
            )
            console.print(answer_view(answer_or_raise(query_id)))
            life = query_history(engine, query_id)
            engine.dispose()
    assert life is not None, "it was answered"
    console.print(who_saw_what(life))
    if one.answer:
        console.print(f"right is: {one.answer}", highlight=False)


def who_saw_what(life: History) -> Table:
    """One row a step: who was asked, which image stood in the prompt, and what was said."""
    table = Table("step", "by", "image", "said", box=None, pad_edge=False, header_style="bold")
    said = dict(_said(life))
    for entry in life.entries:
        if isinstance(entry.what, Step):
            step = entry.what
            images = [name[:12] for turn in step.messages for name in turn.images]
            words = escape(said.get(step.step_id, ""))
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
    given = options.parse_args()
    console = Console()
    console.rule("[bold]CoLM[/]: small models look at an image together", style="dim")
    if not all((given.models / name / "config.json").exists() for name in ("client", "server")):
        console.print("no pretrained model is small enough: training two, once", style="dim")
        train_both(given.models, CLIENT_STEPS, SERVER_STEPS)
    if given.image is None:
        one = next(one for one in easy_vqa("test") if one.question == QUESTION)
    else:
        one = Asked(given.question, "", given.image)
    run_demo(given.models, one, console)


if __name__ == "__main__":
    main()
