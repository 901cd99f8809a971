"""Graders: one for each kind of example.

A text without an extractable answer is `unparsable`, not wrong; a grader that cannot work reports
`error`. A judge's verdict comes through the queue and is only interpreted here.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal

from colm.evaluation.data.examples import Example
from colm.evaluation.data.options import LETTERS
from colm.models.answers import compare
from colm.models.answers.characters import plain
from colm.models.answers.compare import Kind
from colm.models.answers.program_tests import stub_program
from colm.models.errors import SandboxUnusable
from colm.models.sandbox import runner

Status = Literal["correct", "wrong", "unparsable", "error"]


@dataclass(frozen=True, kw_only=True)
class Grade:
    """A grader's verdict on one text."""

    status: Status
    #: The extracted answer.
    extracted: str | None = None
    reason: str | None = None

    @property
    def correct(self) -> bool | None:
        """None without a verdict."""
        return None if self.status in ("unparsable", "error") else self.status == "correct"


Grader = Callable[[Example, str], Grade]
#: (program, tests) -> verdict, as `colm.models.sandbox.runner.run`.
Check = Callable[[str, str], runner.Verdict]


def grade(example: Example, text: str, *, grader: str = "auto", check: Check = runner.run) -> Grade:
    """Grade `text` as an answer to `example`.

    `grader`: auto (the example's own), a kind of answer, or vqa. Thread-safe; code runs in the
    sandbox. Raises ValueError for an unknown grader.
    """
    name = (example.grader or example.kind) if grader == "auto" else grader
    if name == "code":
        return _code(example, text, check)
    if name == "vqa":
        return grade_vqa(example, text)
    if name not in _COMPARED:
        raise ValueError(f"unknown grader {grader!r}; known are auto, code, {_NAMES}")
    return _compared(example, text, name)


def _compared(example: Example, text: str, kind: Any) -> Grade:
    answer = compare.extract(text, kind, question=example.question, choices=example.choices)
    if answer is None:
        return Grade(status="unparsable", reason=f"no {kind} answer was found in the text")
    right = any(compare.same(reference, answer, kind) for reference in example.references)
    return Grade(status="correct" if right else "wrong", extracted=answer)


def _code(example: Example, text: str, check: Check) -> Grade:
    program = compare.extract_program(text, example.question, example.tests)
    if program is None:
        return Grade(status="unparsable", reason="no Python program was found in the text")
    try:
        verdict = check(program, example.tests)
        if verdict.passed and passes_all(example.tests, check):
            reason = "its tests pass a program that does nothing"
            return Grade(status="error", extracted=program, reason=reason)
    except SandboxUnusable as error:
        return Grade(status="error", extracted=program, reason=str(error))
    status: Status = "correct" if verdict.passed else "wrong"
    return Grade(status=status, extracted=program, reason=verdict.reason or None)


@lru_cache(maxsize=4_096)
def passes_all(tests: str, check: Check = runner.run) -> bool:
    """Whether a program of empty definitions passes the tests."""
    return check(stub_program(tests), tests).passed


def grade_by_likelihood(
    example: Example, logprobs: Mapping[str, float] | None, *, per_character: bool = False
) -> Grade:
    """Grade a choice by its most likely option (`choice_logprobs`, natural logarithms).

    Keys are letters or option texts. `per_character` divides by the length of the key.
    """
    if not logprobs:
        return Grade(status="error", reason="the completion has no choice_logprobs")
    score = {text: p / (len(text) if per_character else 1) for text, p in logprobs.items()}
    best = max(score, key=score.__getitem__).strip()
    if best in example.choices:
        best = LETTERS[example.choices.index(best)]
    right = best in example.references
    return Grade(status="correct" if right else "wrong", extracted=best)


def grade_judgement(verdict: str, orders: tuple[str, str]) -> Grade:
    """Grade by a judge's comparison of the text (first) with the reference (second).

    `verdict` and `orders` come from the strategy `judge`, which asks in both orders. The text is
    right if it is at least as good in both; contradicting orders are unparsable.
    """
    if "unreadable" in orders:
        return Grade(status="unparsable", reason="the judge's reply names no verdict")
    if set(orders) == {"first", "second"}:
        return Grade(status="unparsable", reason="the judge prefers one position in both orders")
    right = "second" not in orders
    return Grade(status="correct" if right else "wrong", reason=f"the judge's verdict: {verdict}")


def judge_options(example: Example, text: str) -> dict[str, Any]:
    """Options of a `judge` query that compares `text` with the reference.

    The judge does not see which of the two is the reference. Raises ValueError without one.
    """
    if not example.references:
        raise ValueError("an example without a reference cannot be judged")
    return {"answers": [text, example.references[0]]}


#: VQA: words that do not count, and number words.
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_NUMBERS = {
    word: str(value)
    for value, word in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    )
} | {"none": "0"}
#: Points except decimal ones, commas of thousands, apostrophes.
_DROPPED = re.compile(r"\.(?!\d)|(?<=\d),(?=\d)|['\u2019]")
_PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation.replace(".", ""), " "))


def grade_vqa(example: Example, text: str) -> Grade:
    """Exact match after the VQA normalisation (Antol et al., 2015): case, articles, punctuation and
    number words do not count."""
    answer = compare.extract(text, "exact")
    if answer is None:
        return Grade(status="unparsable", reason="no short answer was found in the text")
    right = any(_normal(answer) == _normal(reference) for reference in example.references)
    return Grade(status="correct" if right else "wrong", extracted=answer)


def _normal(text: str) -> str:
    text = _DROPPED.sub("", plain(text).casefold()).translate(_PUNCTUATION)
    words = _ARTICLES.sub(" ", text).split()
    return " ".join(_NUMBERS.get(word, word) for word in words)


_COMPARED: Final[tuple[Kind, ...]] = ("exact", "numeric", "choice", "math", "text")
_NAMES: Final = ", ".join([*_COMPARED, "vqa"])
