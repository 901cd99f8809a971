"""Holds a data set against its own answers.

A reference that its own grader does not find right makes every answer wrong, and tests that a
program that does nothing passes make every program right. Neither shows in a run's accuracy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from colm.evaluation.data.examples import BadRow, Dataset, Example
from colm.evaluation.data.options import LETTERS
from colm.evaluation.grading import Check, grade, passes_all
from colm.models.sandbox import runner

#: Characters of a text that are shown.
SHOWN: Final = 120


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A text that an example's grader judges wrongly."""

    example: str
    question: str
    text: str
    #: What the grader says, and why it should say something else.
    status: str
    extracted: str | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What came of a check."""

    name: str
    examples: int
    bad: tuple[BadRow, ...]
    findings: tuple[Finding, ...]
    #: Examples whose tests no solution of the source's own was tried on.
    without_solution: int
    #: Fields of the source that nothing reads. No fault, but the place to look for a lost passage.
    unread: tuple[str, ...]

    @property
    def sound(self) -> bool:
        return not self.bad and not self.findings


#: Checks examples, in whatever threads, and returns in their order what was found.
Found = tuple[Finding, ...]
Mapped = Callable[[Callable[[Example], Found], Iterable[Example]], Iterable[Found]]


def check_data(
    data: Dataset, *, grader: str = "auto", check: Check = runner.run, mapped: Mapped = map
) -> Checked:
    """Grade every reference against itself, and for code a program that does nothing.

    `grader` and `check` are those of `colm.evaluation.grading.grade`. With the grader `judge` only
    code is checked. Raises SandboxUnusable where code cannot be run.
    """

    def of_example(example: Example) -> Found:
        return tuple(findings(example, grader=grader, check=check))

    found = [one for many in mapped(of_example, data.examples) for one in many]
    return Checked(
        name=data.name,
        examples=len(data.examples),
        bad=data.bad,
        findings=(*found, *_contradictions(data.examples)),
        without_solution=sum(e.kind == "code" and not e.references for e in data.examples),
        unread=data.unread,
    )


def findings(
    example: Example, *, grader: str = "auto", check: Check = runner.run
) -> Iterator[Finding]:
    """What the example's grader judges wrongly, of what is known to be right or to be nothing."""
    kind = (example.grader or example.kind) if grader == "auto" else grader
    if kind == "judge":
        return
    if kind == "code":
        if passes_all(example.tests, check):
            why = "its tests pass a program that does nothing"
            yield _finding(example, "pass", "correct", None, why)
            return
        nothing = grade(example, _fenced("pass"), grader=kind, check=check)
        if nothing.status in ("correct", "error"):
            why = nothing.reason or "the program does nothing"
            yield _finding(example, "pass", nothing.status, None, why)
    for text in right_texts(example, kind):
        given = grade(example, text, grader=kind, check=check)
        if given.status != "correct":
            why = given.reason or "it is the source's own answer"
            yield _finding(example, text, given.status, given.extracted, why)
            return


def right_texts(example: Example, kind: str) -> Iterator[str]:
    """Texts that are right answers to the example: its references as models write them."""
    if example.worked:
        yield example.worked
    for reference in example.references:
        if kind == "code":
            yield _fenced(reference)
            continue
        if kind == "math":
            yield f"The answer is $\\boxed{{{reference}}}$."
            continue
        yield reference
        if kind == "choice":
            yield from _chosen(example, reference)
        elif kind != "text":
            yield f"The answer is {reference}."


def _chosen(example: Example, letter: str) -> Iterator[str]:
    """A letter with and without the words of its option; and these alone, if no other has them."""
    yield f"The answer is ({letter})."
    place = LETTERS.find(letter)
    if len(letter) != 1 or not 0 <= place < len(example.choices):
        return
    words = example.choices[place]
    yield f"The answer is ({letter}) {words}"
    if sum(choice.casefold() == words.casefold() for choice in example.choices) == 1:
        yield f"I think it is {words}."


def _fenced(program: str) -> str:
    return f"```python\n{program}\n```"


def _contradictions(examples: Iterable[Example]) -> Iterator[Finding]:
    """Examples that ask what an earlier one asks, and expect another answer."""
    known: dict[tuple[object, ...], Example] = {}
    for example in examples:
        first = known.setdefault((example.question, example.images, example.tests), example)
        if not set(first.references) & set(example.references) and first is not example:
            why = f"{first.id} asks the same and expects {first.references[0][:SHOWN]!r}"
            yield _finding(example, example.references[0], "wrong", None, why)


def _finding(
    example: Example, text: str, status: str, extracted: str | None, reason: str
) -> Finding:
    return Finding(
        example=example.id,
        question=_short(example.question),
        text=_short(text),
        status=status,
        extracted=extracted and _short(extracted),
        reason=reason,
    )


def _short(text: str) -> str:
    """The end of a long text, where its answer is, or all of a short one."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"...{line[-SHOWN:]}"
