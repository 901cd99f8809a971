"""Training examples of a client: its draft prompts, and refine prompts with a note. Pure.

The prompts are those that the client gets in a query, so that it is tuned on what it will read.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice

from colm.models.messages import Participant, Turn
from colm.models.prompts import colm as prompts

#: Of the note examples in the client's field: the share with a right note. The others have a wrong
#: note and keep the client's own answer.
RIGHT_NOTE_SHARE = 0.6
#: Note examples for each question of the client's own, in its field and outside it.
NOTES_PER_QUESTION = 0.5

_SYLLABLES = ("ba", "do", "fi", "ga", "ke", "lu", "mo", "ni", "pa", "re", "su", "ta", "vo", "zi")
_THINGS = ("lamp", "valve", "ferry", "orchard", "engine", "bridge", "kettle", "archive")
_QUALITIES = ("maker", "colour", "owner", "code word", "port", "season", "keeper", "emblem")


@dataclass(frozen=True, kw_only=True)
class Example:
    """A prompt, and the answer that the client is tuned to give to it."""

    turns: tuple[Turn, ...]
    answer: str


@dataclass(frozen=True, kw_only=True)
class Question:
    question: str
    answer: str


def draft_examples(client: Participant, questions: Sequence[Question]) -> list[Example]:
    """The client's own questions, as it gets them to draft."""
    return [Example(turns=prompts.draft(client, q.question), answer=q.answer) for q in questions]


def note_examples(client: Participant, questions: Sequence[Question], seed: int) -> list[Example]:
    """Refine prompts that teach a client when to take a note and when to keep its own answer.

    In its field: right notes, and wrong notes whose label is its own answer. Outside its field:
    made-up facts, a wrong draft and a right note. No other client's data is used.
    """
    chance = random.Random(f"{seed}:notes")
    count = max(1, round(len(questions) * NOTES_PER_QUESTION))
    own = list(islice(cycle(chance.sample(list(questions), len(questions))), count))
    answers = [q.answer for q in questions]
    examples = [_in_field(client, question, answers, chance) for question in own]
    examples += [
        _outside(client, question, chance.choice(answers))
        for question in made_questions(count, seed)
    ]
    chance.shuffle(examples)
    return examples


def made_questions(count: int, seed: int) -> list[Question]:
    """Questions on made-up facts, which no model knows: their answers are only in the note."""
    chance = random.Random(f"{seed}:made")

    def word() -> str:
        return "".join(chance.choices(_SYLLABLES, k=3)).capitalize()

    return [
        Question(
            question=f"What is the {chance.choice(_QUALITIES)} of the {chance.choice(_THINGS)} "
            f"{word()}?",
            answer=word(),
        )
        for _ in range(count)
    ]


def _in_field(
    client: Participant, question: Question, answers: Sequence[str], chance: random.Random
) -> Example:
    others = sorted({answer for answer in answers if answer != question.answer})
    right = not others or chance.random() < RIGHT_NOTE_SHARE
    note = question.answer if right else chance.choice(others)
    draft = (
        question.answer if not right or not others else chance.choice([question.answer, *others])
    )
    return Example(
        turns=prompts.refine(client, question.question, draft, _note(note), relevant=True),
        answer=question.answer,
    )


def _outside(client: Participant, question: Question, draft: str) -> Example:
    return Example(
        turns=prompts.refine(
            client, question.question, draft, _note(question.answer), relevant=False
        ),
        answer=question.answer,
    )


def _note(answer: str) -> str:
    return f"The answer is {answer}"
