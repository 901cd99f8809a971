"""Graders say what is right, what is wrong, and what they could not read."""

from __future__ import annotations

from typing import Any

import pytest

from colm.evaluation.data.examples import Example
from colm.evaluation.grading import (
    grade,
    grade_by_likelihood,
    grade_judgement,
    grade_vqa,
    judge_options,
)
from colm.models.answers.compare import Kind
from colm.models.errors import SandboxUnusable
from colm.models.sandbox.runner import Verdict
from tests.unit.examples import a_query
from tests.unit.simulation import play


def example(kind: Kind, *references: str, **more: Any) -> Example:
    return Example(id="e", question="?", references=references, kind=kind, **more)


@pytest.mark.parametrize(
    ("kind", "reference", "text", "status"),
    [
        ("exact", "False", "So the answer is False.", "correct"),
        ("exact", "False", "So the answer is True.", "wrong"),
        ("exact", "False", "word " * 60, "unparsable"),
        ("numeric", "1,234", "It is 1234.00 dollars", "correct"),
        ("numeric", "12", "It is 13", "wrong"),
        ("numeric", "12", "I do not know.", "unparsable"),
        ("choice", "B", "The answer is (b).", "correct"),
        ("choice", "B", "The answer is (C).", "wrong"),
        ("math", r"\frac{1}{2}", r"Thus \boxed{0.5}", "correct"),
        ("math", "x^2", r"Thus \boxed{x^3}", "wrong"),
        ("text", "Many words", "many  words.", "correct"),
    ],
)
def test_each_kind_is_graded_as_its_own(kind: Kind, reference: str, text: str, status: str) -> None:
    given = grade(example(kind, reference), text)

    assert given.status == status
    assert given.correct is {"correct": True, "wrong": False, "unparsable": None}[status]
    assert (given.reason is None) is (status != "unparsable")


def test_any_reference_is_right() -> None:
    assert grade(example("exact", "yes", "aye"), "Answer: aye").status == "correct"


def test_a_choice_may_be_named_by_its_words_if_only_one_is() -> None:
    asked = example("choice", "B", choices=("the sun", "the moon"))

    assert grade(asked, "it must be The Moon, surely").extracted == "B"
    assert grade(asked, "neither the sun nor the moon").status == "unparsable"


def test_code_is_right_if_its_tests_pass() -> None:
    asked = example("code", tests="assert double(2) == 4")

    assert grade(asked, "```python\ndef double(x):\n    return 2 * x\n```").status == "correct"
    wrong = grade(asked, "```python\ndef double(x):\n    return x\n```")
    assert (wrong.status, "assert double(2) == 4" in (wrong.reason or "")) == ("wrong", True)
    assert grade(asked, "I would multiply.").status == "unparsable"


def test_a_machine_that_cannot_run_code_is_no_wrong_answer() -> None:
    def unusable(_code: str, _tests: str) -> Verdict:
        raise SandboxUnusable("no namespaces here")

    given = grade(example("code"), "```python\nx = 1\n```", check=unusable)
    assert (given.status, given.correct, given.reason) == ("error", None, "no namespaces here")


def test_a_named_grader_goes_before_the_kind() -> None:
    asked = example("exact", "12.0")

    assert grade(asked, "12").status == "wrong"
    assert grade(asked, "12", grader="numeric").status == "correct"
    with pytest.raises(ValueError, match="unknown grader 'odd'"):
        grade(asked, "12", grader="odd")


def test_the_likeliest_option_counts_by_letter_or_by_words() -> None:
    asked = example("choice", "B", choices=("sun", "the whole moon"))

    assert grade_by_likelihood(asked, {" A": -2.0, " B": -1.0}).status == "correct"
    assert grade_by_likelihood(asked, {"A": -1.0, "B": -2.0}).status == "wrong"
    by_words = {"sun": -3.0, "the whole moon": -7.0}
    assert grade_by_likelihood(asked, by_words).extracted == "A"
    # -3 / 3 characters is -1.0; -7 / 14 is -0.5.
    assert grade_by_likelihood(asked, by_words, per_character=True).extracted == "B"
    assert grade_by_likelihood(asked, None).status == "error"


@pytest.mark.parametrize(
    ("verdict", "orders", "status"),
    [
        ("first", ("first", "first"), "correct"),
        ("tie", ("tie", "tie"), "correct"),
        ("second", ("second", "second"), "wrong"),
        ("tie", ("first", "second"), "unparsable"),
        ("tie", ("first", "tie"), "correct"),
        ("tie", ("second", "tie"), "wrong"),
        ("tie", ("tie", "second"), "wrong"),
        ("unreadable", ("unreadable", "first"), "unparsable"),
    ],
)
def test_a_judge_that_contradicts_itself_has_no_verdict(
    verdict: str, orders: tuple[str, str], status: str
) -> None:
    assert grade_judgement(verdict, orders).status == status


def test_a_judge_is_not_told_which_of_two_answers_is_the_reference() -> None:
    asked = judge_options(example("text", "a good answer"), "mine")

    assert asked == {"answers": ["mine", "a good answer"]}
    query = a_query(strategy="judge", options=asked)
    told = [step.messages[-1].content for step in play(query).asked]
    assert [one.count("a good answer") for one in told] == [1, 1]
    assert not any("correct answer" in one for one in told)
    # What is told of either answer is the same but for the place that it has.
    assert told[1] == told[0].replace("mine", "#").replace("a good answer", "mine").replace(
        "#", "a good answer"
    )
    with pytest.raises(ValueError, match="reference"):
        judge_options(example("text"), "mine")


@pytest.mark.parametrize(
    ("reference", "text", "status"),
    [
        ("2 dogs", "Two dogs.", "correct"),
        ("umbrella", "An umbrella!", "correct"),
        ("red, white", "red white", "correct"),
        ("1000", "1,000", "correct"),
        ("US", "U.S.", "correct"),
        ("don't walk", "Dont walk", "correct"),
        ("0", "None", "correct"),
        ("t-shirt", "T shirt", "correct"),
        ("3.5", "3.5.", "correct"),
        ("3.5", "35", "wrong"),
        ("3.5", "3 5", "wrong"),
        ("cat", "dog", "wrong"),
    ],
)
def test_answers_on_images_are_compared_without_trimmings(
    reference: str, text: str, status: str
) -> None:
    assert grade_vqa(example("exact", reference), text).status == status
    assert grade(example("exact", reference), text, grader="vqa").status == status
