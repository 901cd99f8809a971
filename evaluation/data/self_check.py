"""Check of a data set with its own answers.

A reference that its grader rejects makes every answer wrong; tests that an empty program passes
make every program right. A run's accuracy shows neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from colm.evaluation.data.examples import BadRow, Dataset, Example
from colm.evaluation.data.options import LETTERS
from colm.evaluation.grading import Check, grade, passes_all
from colm.models.sandbox import runner

#: Characters of a text in a finding.
MAX_CHARS: Final = 120


@dataclass(frozen=True, kw_only=True)
class DataFinding:
    """A text that its grader judges wrongly."""

    example: str
    question: str
    text: str
    #: The grader's verdict, and the reason against it.
    status: str
    extracted: str | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class DataCheck:
    """The result of a check."""

    name: str
    examples: int
    bad: tuple[BadRow, ...]
    findings: tuple[DataFinding, ...]
    #: Code examples without a solution to try.
    without_solution: int
    #: Unread fields of the source; a lost passage may be there.
    unread: tuple[str, ...]

    @property
    def sound(self) -> bool:
        return not self.bad and not self.findings


DataFindings = tuple[DataFinding, ...]
#: A `map`, possibly with threads, that keeps the order.
Mapped = Callable[[Callable[[Example], DataFindings], Iterable[Example]], Iterable[DataFindings]]


def check_data(
    data: Dataset, *, grader: str = "auto", check: Check = runner.run, mapped: Mapped = map
) -> DataCheck:
    """Grade every reference, and for code an empty program.

    `grader` and `check` as in `colm.evaluation.grading.grade`; `judge` checks only code. Raises
    SandboxUnusable if code cannot run.
    """

    def of_example(example: Example) -> DataFindings:
        return tuple(findings(example, grader=grader, check=check))

    all_findings = [finding for several in mapped(of_example, data.examples) for finding in several]
    return DataCheck(
        name=data.name,
        examples=len(data.examples),
        bad=data.bad,
        findings=(*all_findings, *_contradictions(data.examples)),
        without_solution=sum(e.kind == "code" and not e.references for e in data.examples),
        unread=data.unread,
    )


def findings(
    example: Example, *, grader: str = "auto", check: Check = runner.run
) -> Iterator[DataFinding]:
    """Right answers that the grader rejects, and empty programs that it accepts."""
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
        verdict = grade(example, text, grader=kind, check=check)
        if verdict.status != "correct":
            why = verdict.reason or "it is the source's own answer"
            yield _finding(example, text, verdict.status, verdict.extracted, why)
            return


def right_texts(example: Example, kind: str) -> Iterator[str]:
    """Right answers: the references as models write them."""
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
    """A letter with and without its option's text, and that text alone if it is unique."""
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


def _contradictions(examples: Iterable[Example]) -> Iterator[DataFinding]:
    """Examples with the question of an earlier one and other references."""
    earlier: dict[tuple[object, ...], Example] = {}
    for example in examples:
        first = earlier.setdefault((example.question, example.images, example.tests), example)
        if not set(first.references) & set(example.references) and first is not example:
            why = f"{first.id} asks the same and expects {first.references[0][:MAX_CHARS]!r}"
            yield _finding(example, example.references[0], "wrong", None, why)


def _finding(
    example: Example, text: str, status: str, extracted: str | None, reason: str
) -> DataFinding:
    return DataFinding(
        example=example.id,
        question=_short(example.question),
        text=_short(text),
        status=status,
        extracted=extracted and _short(extracted),
        reason=reason,
    )


def _short(text: str) -> str:
    """The text on one line; of a long one the end, where the answer is."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_CHARS else f"...{line[-MAX_CHARS:]}"
