"""A data set's own answers are right by the grader that judges others, however they are said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from colm.evaluation.data.examples import Example
from colm.evaluation.data.formats import Columns, arc, bbh, gsm8k
from colm.evaluation.grading import grade
from colm.models.answers.options import LETTERS

#: Solutions as those of grade-school mathematics: something is called an answer on the way.
SOLUTIONS = {
    "66": "The answer is 48 for the first box.\nTwo boxes hold 48+18 = <<48+18=66>>66.\n#### 66",
    "1,250": "Half of 2,500 is 1,250, which answers both parts.\n#### 1,250",
    "-3": "It falls by 8 from 5, so 5 - 8 = <<5-8=-3>>-3 degrees.\n#### -3",
    "0.5": "The answer: she has $1/2 = $<<1/2=0.5>>0.5 left.\n#### 0.5",
    "12": "A dozen is 12; the 7 on the side is not part of the answer.\n#### 12",
}
#: Questions with options that hold each other, letters, units and stops.
OPTIONS = [
    (
        "At what temperature does it boil?",
        ["0\u00b0C.", "100\u00b0C.", "20\u00b0C..", "37\u00b0C."],
    ),
    ("Which symbol is it?", ["Ni", "Co", "Cp", "Cu."]),
    (
        "Which elements are in it?",
        ["carbon [C]", "carbon [C] and iron [Fe]", "iron [Fe]", "tin [Sn]"],
    ),
    ("What is on the right?", ["gases", "nonmetals and gases.", "metals", "nonmetals"]),
    ("What helps against scurvy?", ["Vitamin C", "Vitamin D", "Vitamin A", "Vitamin B12"]),
    ("What makes one ill?", ["E. coli", "A. niger", "B. subtilis", "C. elegans"]),
    ("How many legs?", ["4", "14", "40", "4 or 6"]),
    ("Is it alive?", ["Yes, it is.", "No, it is not.", "Only at night", "It is not known."]),
    ("Which one?", ["both A and B", "A only", "B only", "neither"]),
    ("How far?", ["1.5 km", "15 km", "5 km", "1,500 km"]),
]
#: Tasks in the manner of BIG-Bench Hard, and their targets.
TASKS = {
    "True": "not ( False ) and ( True ) is",
    "-50": "((3 * -3 * 6) + 4) =",
    "(B)": "Which is second?\nOptions:\n(A) The jay is second\n(B) The quail is second\n"
    "(C) The owl is",
    "no": "Is the sum of 2 and 2 equal to 5?",
    "dog cat": "Sort the following words in reverse: cat dog",
}


@pytest.mark.parametrize("number", SOLUTIONS)
def test_a_solution_is_right_by_its_own_last_line(number: str) -> None:
    example = gsm8k({"question": "How many?", "answer": SOLUTIONS[number]}, Columns())

    assert example.references == (number,)
    for said in (SOLUTIONS[number], f"The answer is {number}.", f"\\boxed{{{number}}}", number):
        assert grade(example, said).status == "correct"


@pytest.mark.parametrize(("question", "options"), OPTIONS, ids=[asked for asked, _ in OPTIONS])
@pytest.mark.parametrize(
    "said",
    [
        "{letter}", "({letter})", "The answer is {letter}.", "Answer: {letter}. {words}", "{words}",
        "I think it is {words}.", "The answer is {words}.", "**{letter}) {words}**",
    ],
)  # fmt: skip
def test_an_option_is_right_by_its_letter_and_by_its_words(
    question: str, options: list[str], said: str
) -> None:
    listed = " ".join(f"Answer{n}: {words}" for n, words in enumerate(options, 1))
    row = {"question": f"{question}\n\n{listed}", "answer": "answer1"}
    example = arc(row, Columns())

    for letter, words in zip(LETTERS, options, strict=False):
        right = grade(
            replace(example, references=(letter,)), said.format(letter=letter, words=words)
        )
        assert (right.status, right.extracted) == ("correct", letter)


@pytest.mark.parametrize("target", TASKS)
@pytest.mark.parametrize("said", ["{}", "The answer is {}.", "Answer: {}", "So \\boxed{{{}}}."])
def test_a_target_is_right_as_it_stands(target: str, said: str) -> None:
    example = bbh({"input": TASKS[target], "target": target}, Columns())

    assert grade(example, said.format(target)).status == "correct"


def test_no_own_answer_is_right_for_another_item() -> None:
    examples = [gsm8k({"question": n, "answer": s}, Columns()) for n, s in SOLUTIONS.items()]
    right: list[tuple[Example, str]] = [
        (example, said)
        for example in examples
        for said in SOLUTIONS.values()
        if grade(example, said).status == "correct"
    ]

    assert len(right) == len(examples)
