"""Extraction, comparison and majority vote of answers, for strategies and graders. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from colm.models.answers import code_blocks, equivalence, extraction, formulas, options, programs

#: exact: a word or a name. numeric: a number, with or without a unit. choice: the letter of an
#: option. math: a formula or number, in LaTeX or plain. code: a Python program. text: anything.
Kind = Literal["exact", "numeric", "choice", "math", "code", "text"]

_FINDERS: Final[dict[Kind, Callable[[str], str | None]]] = {
    "exact": extraction.extract_word,
    "numeric": extraction.extract_number,
    "math": extraction.extract_formula,
    "text": extraction.extract_text,
}
_COMPARISONS: Final[dict[Kind, Callable[[str, str], bool]]] = {
    "exact": equivalence.texts_equal,
    "numeric": equivalence.numbers_equal,
    "choice": equivalence.texts_equal,
    "math": formulas.formulas_equal,
    "code": programs.programs_equal,
    "text": equivalence.texts_equal,
}


def extract(
    text: str, kind: Kind, *, question: str = "", choices: Sequence[str] = ()
) -> str | None:
    """The answer in `text`; None if it is unparsable.

    `question` completes code (`colm.models.answers.programs.complete`), and has the options of a
    choice if `choices` is empty.
    """
    if kind == "code":
        return extract_program(text, question)
    part = extraction.without_thought(text)
    if part is None:
        return None
    if kind == "choice":
        return options.extract_letter(part, choices or options.parse_options(question))
    return _FINDERS[kind](part)


def extract_program(text: str, question: str, tests: str = "") -> str | None:
    """The program in `text` that defines the names in `tests`; None without one."""
    part = code_blocks.outside_code(extraction.without_thought, text)
    return None if part is None else programs.complete(part, question, tests)


def same(a: str, b: str, kind: Kind) -> bool:
    """Whether two extracted answers are equal; symmetric."""
    return _COMPARISONS[kind](a, b)


@dataclass(frozen=True, kw_only=True)
class Vote:
    """Equivalence classes of answers, and COPE's consensus (arXiv 2506.11578)."""

    answers: tuple[str | None, ...]
    #: Indexes of equal answers; classes and indexes in order.
    classes: tuple[tuple[int, ...], ...]

    @property
    def majority(self) -> tuple[int, ...]:
        """Indexes of the most frequent answer, the first of a tie; may be empty."""
        return max(self.classes, key=len, default=())

    @property
    def answer(self) -> str | None:
        """The most frequent answer, as first written; None if all are unparsable."""
        return self.answers[self.majority[0]] if self.majority else None

    @property
    def share(self) -> float:
        """Share of the majority among all answers, also unparsable ones; 0 without answers."""
        return len(self.majority) / len(self.answers) if self.answers else 0.0

    @property
    def unparsable(self) -> int:
        return sum(answer is None for answer in self.answers)


def vote(answers: Sequence[str | None], kind: Kind) -> Vote:
    """Equivalence classes of `answers`; each answer is compared with the first of a class."""
    classes: list[list[int]] = []
    for index, answer in enumerate(answers):
        if answer is None:
            continue
        for members in classes:
            first = answers[members[0]]
            if first is not None and same(first, answer, kind):
                members.append(index)
                break
        else:
            classes.append([index])
    return Vote(answers=tuple(answers), classes=tuple(map(tuple, classes)))
