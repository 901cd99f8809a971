"""How a query looks on a terminal. Builds Rich renderables; prints nothing itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import assert_never

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from colm.db.reads.answers import AnswerState
from colm.db.reads.history import (
    History,
    HistoryEntry,
    QueryAsked,
    QueryEnded,
    RoundStarted,
    StepOutcome,
    StepRedelivered,
    TextsErased,
)
from colm.models.dead_letter import DeadLetter
from colm.models.messages import Answer, Step
from colm.models.strategies.base import Decision, Outcome
from colm.workers.console import plain

STATUS_STYLE = {
    "completed": "green",
    "answered": "green",
    "failed": "red",
    "refused": "red",
    "expired": "yellow",
    "late": "yellow",
    "working": "cyan",
    "open": "cyan",
}


def progress_table(life: History, elapsed: float) -> RenderableType:
    """One row a step, in the order asked, as far as the query has come."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("round", "step", "by", "status"):
        table.add_column(name)
    for name in ("tokens", "tokens/s", "waited s", "seconds"):
        table.add_column(name, justify="right")
    outcomes = _deciding(life)
    for entry in life.entries:
        if isinstance(entry.what, Step):
            table.add_row(*_step_row(entry.what, outcomes.get(entry.what.step_id)))
    return Group(table, Text(f"{elapsed:.1f} s", style="dim"))


def answer_view(answer: Answer) -> RenderableType:
    """Drafts, guidance, refined answers and the chosen one."""
    parts: list[RenderableType] = []
    for name, client in sorted(answer.clients.items()):
        if client.draft is not None:
            parts.append(_panel(f"draft · {name}", client.draft, "blue"))
    for guidance in answer.guidance:
        title = f"guidance · round {guidance.round} · {guidance.server}"
        parts.append(_panel(title, guidance.text, "magenta"))
    for name, client in sorted(answer.clients.items()):
        if client.refined is not None:
            parts.append(_panel(f"refined · {name}", client.refined, "green"))
        elif client.reason:
            parts.append(_panel(f"{client.status} · {name}", client.reason, "yellow"))
    if answer.answer is not None:
        why = f"{answer.chosen}: {answer.chosen_because}"
        parts.append(_panel(f"answer · {why}", answer.answer, "bold green"))
    else:
        parts.append(_panel("failed", answer.reason or "", "red"))
    parts.append(_figures(answer))
    return Group(*parts)


def _figures(answer: Answer) -> RenderableType:
    lines = [
        f"query {answer.query_id} · {answer.strategy} · {answer.rounds} "
        f"{'round' if answer.rounds == 1 else 'rounds'} · {answer.seconds:.2f} s · "
        f"{answer.tokens.prompt} prompt + {answer.tokens.completion} completion tokens"
    ]
    lines += [f"note: {note}" for note in answer.notes]
    return plain("\n".join(lines), "dim")


def life_view(life: History, *, prompts: bool) -> Iterator[RenderableType]:
    """Every entry of a query's life in the order in which it happened."""
    started = life.entries[0].at
    for entry in life.entries:
        at = Text(f"{entry.seq:>3}  +{_since(started, entry.at)} s", style="dim")
        yield Text.assemble(at, "  ", _headline(entry))
        yield from _body(entry, prompts=prompts)
    for letter in life.dead_letters:
        yield plain(f"dead letter {letter.message_id} from {letter.queue}: {letter.reason}", "red")


def _headline(entry: HistoryEntry) -> Text:
    match entry.what:
        case QueryAsked(strategy=strategy):
            told = plain(f", strategy {strategy}, {entry.at:%Y-%m-%d %X} UTC")
            return Text.assemble(("asked", "bold"), told)
        case RoundStarted(round=number):
            return Text(f"round {number}", style="bold")
        case Step() as step:
            sampling = step.sampling
            return Text(
                f"step {step.act} asked of {step.participant}: {len(step.messages)} turns, prompts "
                f"{step.prompt_version}, temperature {sampling.temperature:g}, top_p "
                f"{sampling.top_p:g}, at most {sampling.max_new_tokens} tokens, seed "
                f"{sampling.seed}"
            )
        case StepRedelivered(step_id=step_id, redelivery=tried):
            did = "handed back by" if tried.kind == "returned" else "started alone by"
            return plain(f"{step_id.split('.', 2)[2]} {did} {tried.worker}", "yellow")
        case StepOutcome(step_id=step_id, outcome=outcome):
            return _outcome_line(step_id, outcome)
        case TextsErased(asked_by=asked_by, reason=reason):
            return plain(f"texts erased, asked for by {asked_by}: {reason}", "yellow")
        case Decision(kind=kind, reason=reason):
            return plain(f"decision {kind}: {reason}", "magenta")
        case QueryEnded(status=status, reason=reason):
            return plain(f"{status}{': ' + reason if reason else ''}", STATUS_STYLE[status])
        case _:
            assert_never(entry.what)


def _outcome_line(step_id: str, outcome: Outcome) -> Text:
    _, act, by = step_id.rsplit(".", 4)[1:4]
    style = STATUS_STYLE[outcome.status]
    completion = outcome.completion
    if completion is None:
        return plain(f"{act} by {by} {outcome.reason}", style)
    return plain(
        f"{act} by {by} {outcome.status}: {completion.prompt_tokens} prompt "
        f"({completion.cached_tokens} cached) + {completion.completion_tokens} completion tokens, "
        f"queued {completion.queued_s:.2f} s, first token {completion.first_token_s:.2f} s, total "
        f"{completion.total_s:.2f} s, batch {completion.batch_size}, {completion.model} "
        f"({completion.engine}, {completion.dtype}, {completion.device}), "
        f"{completion.finish_reason}",
        style,
    )


def _body(entry: HistoryEntry, *, prompts: bool) -> Iterator[RenderableType]:
    match entry.what:
        case QueryAsked(question=question):
            yield _panel("question", question, "white")
        case Step() as step if prompts:
            for turn in step.messages:
                yield _panel(turn.role, turn.content, "dim")
        case StepOutcome(outcome=Outcome(completion=completion)) if completion is not None:
            if completion.thought:
                yield _panel("thought", completion.thought, "dim")
            yield _panel("text", completion.text, "blue")
        case _:
            return


def queries_table(states: Iterable[AnswerState]) -> Table:
    table = Table(box=None, header_style="bold", expand=True)
    for name, width in (("query", 8), ("asked (UTC)", 14), ("strategy", 8), ("status", 8)):
        table.add_column(name, min_width=width, overflow="fold")
    table.add_column("seconds", min_width=7, justify="right")
    table.add_column("question", ratio=1, no_wrap=True, overflow="ellipsis")
    for s in states:
        seconds = (
            f"{(s.ended_at - s.asked_at).total_seconds():.1f}" if s.ended_at and s.asked_at else ""
        )
        asked = f"{s.asked_at:%m-%d %H:%M:%S}" if s.asked_at else ""
        status = Text(s.status, style=STATUS_STYLE[s.status])
        question = " ".join((s.question or "").split())[:80]
        head = (plain(s.query_id[:8]), asked, plain(s.strategy or ""))
        table.add_row(*head, status, seconds, plain(question))
    return table


def letters_table(letters: Sequence[DeadLetter]) -> Table:
    table = Table(box=None, header_style="bold")
    for name in ("letter", "at (UTC)", "task", "queue", "query", "reason"):
        table.add_column(name, overflow="fold")
    for letter in letters:
        rest = (letter.task, letter.queue, letter.query_id or "", letter.reason)
        at = f"{letter.at:%m-%d %H:%M:%S}"
        table.add_row(plain(letter.message_id), at, *map(plain, rest))
    return table


def _deciding(life: History) -> dict[str, Outcome]:
    """Each step's outcome, late ones left out."""
    found = [entry.what for entry in life.entries if isinstance(entry.what, StepOutcome)]
    return {o.step_id: o.outcome for o in found if o.outcome.status != "late"}


def _step_row(step: Step, outcome: Outcome | None) -> tuple[str, ...]:
    status = outcome.status if outcome else "working"
    shown = f"[{STATUS_STYLE[status]}]{status}[/]"
    head = (str(step.round), step.act, step.participant, shown)
    completion = outcome.completion if outcome else None
    if completion is None:
        return (*head, "", "", "", "")
    working = max(completion.total_s - completion.queued_s, 1e-9)
    return (
        *head,
        str(completion.completion_tokens),
        f"{completion.completion_tokens / working:.1f}",
        f"{completion.queued_s:.2f}",
        f"{completion.total_s:.2f}",
    )


def _panel(title: str, text: str, style: str) -> Panel:
    shown = plain(text.strip() or "(empty)")
    return Panel(shown, title=plain(title), title_align="left", style=style)


def _since(start: datetime, at: datetime) -> str:
    return f"{(at - start).total_seconds():6.2f}"
