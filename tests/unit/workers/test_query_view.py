"""What is shown on a terminal is what was said, whatever it says."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from colm.db.reads.answers import AnswerState
from colm.db.reads.history import (
    History,
    HistoryEntry,
    QueryAsked,
    QueryEnded,
    RoundStarted,
    StepOutcome,
)
from colm.models.dead_letter import DeadLetter
from colm.models.messages import Answer, ClientAnswer, Guidance, StepError
from colm.models.strategies.base import Decision, Outcome
from colm.workers.cli.query_view import (
    answer_view,
    letters_table,
    life_view,
    progress_table,
    queries_table,
)
from tests.unit.examples import NOW, a_completion, a_query, a_step, an_answer, seconds

#: Rich would raise for some of these, and style or swallow others, if it took them for markup.
MARKUP = [
    "[/]",
    "[/bold]",
    "[red]x",
    "[link=x]",
    "\\[",
    "[",
    "]",
    ":smile:",
    "[@click=x]y[/]",
    "\\",
]
CONTROL = ["\x1b[2J", "\x07", "\r", "\x9b31m", "\x00", "\x7f"]
HOSTILE = st.lists(st.sampled_from([*MARKUP, *CONTROL, "word"]) | st.text(max_size=10)).map("".join)


def shown(*parts: RenderableType, width: int = 300) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False, legacy_windows=False)
    for part in parts:
        console.print(part)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def answer_of(text: str) -> Answer:
    return an_answer(
        answer=text,
        chosen="ada",
        chosen_because=text,
        clients={
            "ada": ClientAnswer(status="refined", draft=text, refined=text),
            "bo": ClientAnswer(status="failed", reason=text),
        },
        guidance=(Guidance(round=1, text=text, server="main", drafts_of=("ada",)),),
        notes=(text,),
    )


def letter_of(text: str) -> DeadLetter:
    return DeadLetter(
        message_id=text, task=text, queue=text, reason=text, at=NOW, body=text, query_id=text,
        step_id=None,
    )  # fmt: skip


def life_of(text: str, *more: Any) -> History:
    step = a_step(content=text)
    completion = a_completion(text, thought=text, model=text)
    error = StepError(kind=text.replace("\x00", "")[:100], reason=text)
    everything: list[Any] = [
        QueryAsked(question=text, strategy=text, query=a_query("ada")),
        RoundStarted(round=1),
        step,
        StepOutcome(
            step_id=step.step_id,
            outcome=Outcome(status="completed", at=NOW, completion=completion),
        ),
        StepOutcome(
            step_id=a_step("bo").step_id, outcome=Outcome(status="failed", at=NOW, error=error)
        ),
        Decision(kind=text, round=1, reason=text),
        QueryEnded(status="failed", reason=text, answer=None),
        *more,
    ]
    entries = tuple(
        HistoryEntry(seq=seq, at=NOW + seconds(seq), what=what)
        for seq, what in enumerate(everything, 1)
    )
    return History(entries=entries, dispatches=(), dead_letters=(letter_of(text),))


def everything_with(text: str) -> str:
    state = AnswerState(
        query_id=text or "x", status="refused", question=text, strategy=text, asked_at=NOW
    )
    return shown(
        answer_view(answer_of(text)),
        *life_view(life_of(text), prompts=True),
        progress_table(life_of(text), 1.0),
        queries_table([state]),
        letters_table([letter_of(text)]),
    )


@given(HOSTILE)
def test_no_text_breaks_the_view_or_steers_the_terminal(text: str) -> None:
    out = everything_with(text)
    assert not [c for c in out if (ord(c) < 0x20 and c != "\n") or 0x7F <= ord(c) < 0xA0]


@pytest.mark.parametrize("text", ["[/bold] is markup", "[red]red[/red]", "a [link=x] b", ":smile:"])
def test_markup_is_shown_as_it_was_written(text: str) -> None:
    assert shown(answer_view(answer_of(text))).count(text) >= 7
    assert shown(*life_view(life_of(text), prompts=True)).count(text) >= 9
    assert shown(letters_table([letter_of(text)])).count(text) == 5


def test_a_thought_is_shown_apart_from_the_text_and_only_where_there_is_one() -> None:
    for thought, titles in (("so 41?", ["thought", "text"]), ("", ["text"])):
        completion = a_completion("It is 42.", thought=thought)
        outcome = Outcome(status="completed", at=NOW, completion=completion)
        entry = HistoryEntry(
            seq=1, at=NOW, what=StepOutcome(step_id=a_step().step_id, outcome=outcome)
        )
        out = shown(
            *life_view(History(entries=(entry,), dispatches=(), dead_letters=()), prompts=True)
        )
        assert re.findall(r"\u256d\u2500 (\w+) ", out) == titles
        assert ("so 41?" in out) == bool(thought)


def test_a_text_of_half_characters_is_shown_without_them() -> None:
    assert "?" in shown(letters_table([letter_of("\ud800")]))


def test_an_answer_is_shown_from_its_drafts_to_the_chosen_one() -> None:
    answer = an_answer(
        answer="Rayleigh.",
        chosen="ada",
        chosen_because="the only answer",
        clients={
            "ada": ClientAnswer(status="refined", draft="Dust.", refined="Rayleigh."),
            "bo": ClientAnswer(status="failed", reason="EngineError: no memory"),
            "cy": ClientAnswer(status="idle"),
        },
        guidance=(Guidance(round=1, text="Think of waves.", server="main", drafts_of=("ada",)),),
        notes=("bo was gone without",),
        rounds=1,
        seconds=3.0,
    )
    out = shown(answer_view(answer))
    parts = [
        "draft · ada", "Dust.", "guidance · round 1 · main", "Think of waves.", "refined · ada",
        "failed · bo", "EngineError: no memory", "answer · ada: the only answer", "Rayleigh.",
        "1 round · 3.00 s", "note: bo was gone without",
    ]  # fmt: skip
    positions = [out.index(part) for part in parts if part != "Rayleigh."]
    assert positions == sorted(positions)
    assert "cy" not in out


def test_a_failed_query_shows_why() -> None:
    out = shown(answer_view(an_answer(status="failed", answer=None, reason="nobody drafted")))
    assert "nobody drafted" in out


def test_a_life_is_shown_entry_by_entry_with_its_times() -> None:
    out = shown(*life_view(life_of("said"), prompts=False))
    lines = [line for line in out.splitlines() if line.strip()[:1].isdigit()]
    assert [line.split()[0] for line in lines] == [str(n) for n in range(1, 8)]
    assert "+  0.00 s  asked, strategy said, 2026-03-01 12:00:01 UTC" in lines[0]
    assert "step draft asked of ada: 1 turns, prompts test, temperature 0.7" in lines[2]
    assert "draft by ada completed: 10 prompt (0 cached) + 3 completion tokens" in lines[3]
    assert "draft by bo said: said" in lines[4]
    assert "dead letter said from said: said" in out


def test_prompts_are_shown_only_when_asked_for() -> None:
    life = life_of("x")
    assert "user" in shown(*life_view(life, prompts=True))
    assert "user" not in shown(*life_view(life, prompts=False))


def test_progress_has_a_row_for_each_step_and_ignores_what_came_late() -> None:
    late = Outcome(status="late", at=NOW, completion=a_completion("late"))
    life = life_of("x", a_step("cy"), StepOutcome(step_id=a_step("cy").step_id, outcome=late))
    rows = shown(progress_table(life, 2.5)).splitlines()
    assert rows[1].split() == ["1", "draft", "ada", "completed", "3", "6.0", "0.00", "0.50"]
    assert rows[2].split() == ["1", "draft", "cy", "working"]
    assert rows[3].split() == ["2.5", "s"]


def test_queries_are_listed_on_one_line_each() -> None:
    states = [
        AnswerState(
            query_id="0123456789ab", status="answered", question="Why\nis  it?", strategy="colm",
            asked_at=NOW, ended_at=NOW + seconds(2),
        ),
        AnswerState(query_id="abcdefgh1234", status="open", strategy="colm", asked_at=NOW),
    ]  # fmt: skip
    rows = shown(queries_table(states)).splitlines()
    assert rows[1].split() == [
        "01234567", "03-01", "12:00:00", "colm", "answered", "2.0", "Why", "is", "it?",
    ]  # fmt: skip
    assert rows[2].split() == ["abcdefgh", "03-01", "12:00:00", "colm", "open"]
