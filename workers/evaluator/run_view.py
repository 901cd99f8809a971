"""A run as the terminal shows it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from colm.db.runs.progress import RunProgress, Sharing
from colm.db.runs.store import Run
from colm.tasks.config.time_windows import in_window, next_opening, parse_window


def run_picture(run: Run, progress: RunProgress, now: datetime) -> RenderableType:
    """Everything that is to be seen of one run."""
    parts: list[RenderableType] = [_headline(run, progress, now)]
    if run.units:
        parts += [ProgressBar(total=run.units, completed=progress.done, width=60), ""]
    order = [entry["name"] for entry in run.config["entries"]]
    parts.append(_entries(progress, order))
    if progress.sharing.steps_asked:
        parts.append(Text(saved_words(progress.sharing), style="dim"))
    return Group(*parts)


def runs_table(found: Sequence[tuple[Run, RunProgress]]) -> Table:
    """The latest runs, one a line."""
    table = Table(box=None, header_style="bold")
    for column in ("run", "state", "done", "of", "ordered", "note"):
        table.add_column(column, overflow="fold")
    for run, progress in found:
        ordered = run.ordered_at.astimezone().strftime("%Y-%m-%d %H:%M")
        units = str(run.units) if run.units is not None else "?"
        table.add_row(
            escape(run.run), run.state, str(progress.done), units, ordered, escape(run.note)
        )
    return table


def saved_words(sharing: Sharing) -> str:
    """What generating equal steps once has saved."""
    saved = sharing.prompt_tokens_saved + sharing.completion_tokens_saved
    steps = f"{sharing.steps_asked} steps asked, {sharing.steps_generated} generated"
    return f"{steps}: sharing saved {saved} tokens"


def time_left(run: Run, progress: RunProgress) -> timedelta | None:
    """How long the rest takes at the pace of the last minutes; None where there is none."""
    if run.units is None or not progress.recent_units or run.state != "open":
        return None
    pace = progress.recent_units / max(progress.recent_seconds, 1.0)
    return timedelta(seconds=round((run.units - progress.done) / pace))


def _headline(run: Run, progress: RunProgress, now: datetime) -> Text:
    words = [f"{progress.done} of {run.units if run.units is not None else '?'} units"]
    if progress.recent_seconds and run.state == "open":
        pace = progress.recent_tokens / max(progress.recent_seconds, 1.0)
        words.append(f"{pace:.1f} tokens/s")
    if left := time_left(run, progress):
        words.append(f"about {left} left")
    note = run.note or _waiting(run, now)
    line = Text.assemble((run.run, "bold"), f"  {run.state}  ", ", ".join(words))
    return line.append(f"  {note}", style="yellow") if note else line


def _waiting(run: Run, now: datetime) -> str:
    """What an open run that nobody works on waits for."""
    if run.state != "open" or run.owner is not None:
        return ""
    window = parse_window(run.config["window"]) if run.config.get("window") else None
    if window is not None and not in_window(now, window):
        opens = next_opening(now, window).astimezone(window.zone)
        return f"asks nothing before {opens:%a %Y-%m-%d %H:%M %Z}"
    return "no evaluator works on it: `colm evaluator`"


def _entries(progress: RunProgress, order: Sequence[str]) -> Table:
    table = Table(box=None, header_style="bold")
    table.add_column("entry", no_wrap=True)
    for column in ("done", "right", "accuracy", "unparsable", "failed", "tokens", "s/query"):
        table.add_column(column, justify="right")
    for entry in sorted(progress.entries, key=lambda entry: order.index(entry.entry)):
        accuracy = f"{entry.accuracy:.1%}" if entry.accuracy is not None else ""
        tokens = entry.prompt_tokens + entry.completion_tokens
        table.add_row(
            entry.entry,
            str(entry.done),
            str(entry.correct),
            accuracy,
            str(entry.unparsable),
            str(entry.failed),
            str(tokens),
            f"{entry.seconds:.1f}",
        )
    return table
