"""Whether an answer is right: one grader for each kind of example.

A text in which no answer is found is unparsable, which is no wrong answer and is counted apart; a
grader that cannot do its work is an error. Nothing here asks a model: a judge's verdict is asked
through the queue, and only put into words and read here.
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
    """What a grader says of one text."""

    status: Status
    #: The answer that was found in the text.
    extracted: str | None = None
    reason: str | None = None

    @property
    def correct(self) -> bool | None:
        """None where there is no verdict."""
        return None if self.status in ("unparsable", "error") else self.status == "correct"


Grader = Callable[[Example, str], Grade]
#: Runs code with tests; `colm.models.sandbox.runner.run` with limits of its own.
Check = Callable[[str, str], runner.Verdict]


def grade(example: Example, text: str, *, grader: str = "auto", check: Check = runner.run) -> Grade:
    """Grade `text` as an answer to `example`, as it says itself or by the grader that is named.

    `grader` is auto, a kind of answer, or vqa. Safe from any thread; code runs in the sandbox.
    """
    name = (example.grader or example.kind) if grader == "auto" else grader
    if name == "code":
        return _code(example, text, check)
    if name == "vqa":
        return visual(example, text)
    if name not in _COMPARED:
        raise ValueError(f"no grader is called {grader!r}; there are auto, code, {_NAMES}")
    return _compared(example, text, name)


def _compared(example: Example, text: str, kind: Any) -> Grade:
    found = compare.extract(text, kind, question=example.question, choices=example.choices)
    if found is None:
        return Grade(status="unparsable", reason=f"no {kind} answer was found in the text")
    right = any(compare.same(reference, found, kind) for reference in example.references)
    return Grade(status="correct" if right else "wrong", extracted=found)


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
    """Whether a program that defines what the tests use, and does nothing, passes them."""
    return check(stub_program(tests), tests).passed


def likeliest(
    example: Example, logprobs: Mapping[str, float] | None, *, per_character: bool = False
) -> Grade:
    """Grade a choice by the option that the model finds most likely (`choice_logprobs`).

    The keys are letters or the options' own words, white space aside. `per_character` divides by
    the length, so that long options are not unlikely for being long.
    """
    if not logprobs:
        return Grade(status="error", reason="the completion says of no choice how likely it is")
    score = {text: p / (len(text) if per_character else 1) for text, p in logprobs.items()}
    best = max(score, key=score.__getitem__).strip()
    if best in example.choices:
        best = LETTERS[example.choices.index(best)]
    right = best in example.references
    return Grade(status="correct" if right else "wrong", extracted=best)


def judged(verdict: str, orders: tuple[str, str]) -> Grade:
    """Grade by a judge that compared the text (the first answer) with the reference (the second).

    `verdict` and `orders` are those of the strategy `judge`, which shows both orders; neither tells
    which of the two is the reference. As good as the reference in both is right. Orders that
    contradict each other are no verdict.
    """
    if "unreadable" in orders:
        return Grade(status="unparsable", reason="the judge's reply names no verdict")
    if set(orders) == {"first", "second"}:
        return Grade(status="unparsable", reason="the judge prefers whatever it reads in one place")
    right = "second" not in orders
    return Grade(status="correct" if right else "wrong", reason=f"the judge's verdict: {verdict}")


def judge_options(example: Example, text: str) -> dict[str, Any]:
    """The options of a query of the strategy `judge` that compares `text` with the reference.

    The reference is one of the two answers, and not given once more: the judge must not see which.
    """
    if not example.references:
        raise ValueError("an example without a reference cannot be judged")
    return {"answers": [text, example.references[0]]}


#: Of questions on images: words that answers leave out, and numbers that they write as words.
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_NUMBERS = {
    word: str(value)
    for value, word in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    )
} | {"none": "0"}
#: Points but those of decimals, commas of thousands, and the apostrophes of contractions.
_DROPPED = re.compile(r"\.(?!\d)|(?<=\d),(?=\d)|['\u2019]")
_PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation.replace(".", ""), " "))


def visual(example: Example, text: str) -> Grade:
    """Normalised exact match, as for questions on images: case, articles, punctuation and number
    words do not count."""
    found = compare.extract(text, "exact")
    if found is None:
        return Grade(status="unparsable", reason="no short answer was found in the text")
    right = any(_normal(found) == _normal(reference) for reference in example.references)
    return Grade(status="correct" if right else "wrong", extracted=found)


def _normal(text: str) -> str:
    text = _DROPPED.sub("", plain(text).casefold()).translate(_PUNCTUATION)
    words = _ARTICLES.sub(" ", text).split()
    return " ".join(_NUMBERS.get(word, word) for word in words)


_COMPARED: Final[tuple[Kind, ...]] = ("exact", "numeric", "choice", "math", "text")
_NAMES: Final = ", ".join([*_COMPARED, "vqa"])
