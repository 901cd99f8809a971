"""What a model answered, when two answers are the same one, and which one most agree on.

Pure functions, the same for strategies that vote and for graders that compare with a reference.
How an answer is found is written in `colm.models.answers.extraction` and
`colm.models.answers.options`, when two are the same in `colm.models.answers.equivalence` and
`colm.models.answers.formulas`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from colm.models.answers import code_blocks, equivalence, extraction, formulas, options, programs

#: exact: a word or a name. numeric: a number, with or without a unit. choice: the letter of an
#: option. math: a formula or number, in LaTeX or plain. code: a Python program. text: anything.
Kind = Literal["exact", "numeric", "choice", "math", "code", "text"]

_FINDERS: Final[dict[Kind, Callable[[str], str | None]]] = {
    "exact": extraction.word_in,
    "numeric": extraction.number_in,
    "math": extraction.formula_in,
    "text": extraction.all_in,
}
_COMPARISONS: Final[dict[Kind, Callable[[str, str], bool]]] = {
    "exact": equivalence.written_alike,
    "numeric": equivalence.numbers_alike,
    "choice": equivalence.written_alike,
    "math": formulas.formulas_alike,
    "code": programs.programs_alike,
    "text": equivalence.written_alike,
}


def extract(
    text: str, kind: Kind, *, question: str = "", choices: Sequence[str] = ()
) -> str | None:
    """The answer in `text`, or None where none can be found: it is unparsable.

    `question` matters for code, where a program that goes on from one in the question, or needs its
    imports, is completed with it (see `colm.models.answers.programs.complete`); and for a choice,
    where it tells the options that `choices` does not.
    """
    if kind == "code":
        return program_in(text, question)
    part = extraction.answered_part(text)
    if part is None:
        return None
    if kind == "choice":
        return options.letter_in(part, choices or options.options_in(question))
    return _FINDERS[kind](part)


def program_in(text: str, question: str, tests: str = "") -> str | None:
    """The program in `text`, by what `tests` use; None where there is none."""
    part = code_blocks.beside_blocks(extraction.answered_part, text)
    return None if part is None else programs.complete(part, question, tests)


def same(a: str, b: str, kind: Kind) -> bool:
    """Whether two answers, as `extract` returns them, are the same one; symmetric."""
    return _COMPARISONS[kind](a, b)


@dataclass(frozen=True, kw_only=True)
class Vote:
    """How answers agree: COPE's consensus (arXiv 2506.11578; the share of the most frequent)."""

    answers: tuple[str | None, ...]
    #: Places in `answers` that are the same answer, the classes and the places in each in order.
    classes: tuple[tuple[int, ...], ...]

    @property
    def majority(self) -> tuple[int, ...]:
        """The places of the most frequent answer; of two as frequent, the first. May be empty."""
        return max(self.classes, key=len, default=())

    @property
    def answer(self) -> str | None:
        """The most frequent answer, as it was first written; None where none could be parsed."""
        return self.answers[self.majority[0]] if self.majority else None

    @property
    def share(self) -> float:
        """Votes for it over all answers: an unparsable one agrees with nobody. 0 of none is 0."""
        return len(self.majority) / len(self.answers) if self.answers else 0.0

    @property
    def unparsable(self) -> int:
        return sum(answer is None for answer in self.answers)


def vote(answers: Sequence[str | None], kind: Kind) -> Vote:
    """Sorts `answers` into classes of the same one, each named by the first of its class."""
    classes: list[list[int]] = []
    for place, answer in enumerate(answers):
        if answer is None:
            continue
        for members in classes:
            first = answers[members[0]]
            if first is not None and same(first, answer, kind):
                members.append(place)
                break
        else:
            classes.append([place])
    return Vote(answers=tuple(answers), classes=tuple(map(tuple, classes)))
