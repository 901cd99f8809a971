"""Answers as models write them: each form that was once misread, with its right grade."""

from __future__ import annotations

import pytest

from colm.evaluation.data.examples import Example
from colm.evaluation.grading import Status, grade
from colm.models.answers.compare import Kind

#: Kind, reference, text, grade, and the options of a choice.
Case = tuple[Kind, str, str, Status, tuple[str, ...]]

CASES: dict[str, list[Case]] = {
    "letters of scripts without spaces end no word": [
        ("numeric", "12", "\u7b54\u6848\u662f12\u3002", "correct", ()),
        (
            "numeric",
            "12",
            "\u6240\u4ee5\u4e00\u5171\u670912\u4e2a\u82f9\u679c\u3002",
            "correct",
            (),
        ),
        ("numeric", "12", "\u7b54\u306f12\u500b\u3067\u3059", "correct", ()),
        ("choice", "B", "\u6b63\u786e\u7b54\u6848\u662fB\u3002", "correct", ()),
        ("choice", "B", "\u6b63\u89e3\u306fB\u3067\u3059\u3002", "correct", ()),
        ("choice", "B", "\uc815\ub2f5\uc740 B\uc785\ub2c8\ub2e4.", "correct", ()),
    ],
    "fractions and mixed numbers": [
        ("numeric", "2.5", "The answer is 2 1/2 cups.", "correct", ()),
        ("numeric", "2", "The answer is 2 1/2 cups.", "wrong", ()),
        ("numeric", "2.5", "\\boxed{2\\frac{1}{2}}", "correct", ()),
        ("numeric", "0.5", "\\boxed{\\frac12}", "correct", ()),
        ("numeric", "-0.5", "\\boxed{\\frac{-1}{2}}", "correct", ()),
        ("numeric", "1.5", "The answer is 1 and 1/2.", "correct", ()),
        ("numeric", "0.5", "The answer is \xbd.", "correct", ()),
        ("math", "\\frac{3}{2}", "The answer is 1 1/2", "correct", ()),
    ],
    "grouped digits": [
        ("numeric", "12000", "The answer is 12 000.", "correct", ()),
        ("numeric", "12", "The answer is 12 000.", "wrong", ()),
        ("numeric", "12000", "The answer is 12\u202f000 dollars.", "correct", ()),
        ("numeric", "12000", "\\boxed{12\\ 000}", "correct", ()),
        ("numeric", "12000", "\\boxed{12~000}", "correct", ()),
        ("numeric", "1234", "\\boxed{1,\\!234}", "correct", ()),
        ("numeric", "1234", "\\boxed{1\\;234}", "correct", ()),
    ],
    "powers of ten and magnitudes": [
        ("numeric", "300000000", "The answer is 3 x 10^8 m/s.", "correct", ()),
        ("numeric", "300000000", "The answer is $3 \\times 10^8$.", "correct", ()),
        ("numeric", "3", "The answer is $3 \\times 10^8$.", "wrong", ()),
        ("numeric", "0.00012", "\\boxed{1.2 \\times 10^{-4}}", "correct", ()),
        ("numeric", "1000", "\\boxed{10^3}", "correct", ()),
        ("numeric", "10", "\\boxed{10^3}", "wrong", ()),
        ("numeric", "1500000", "The answer is 1.5 million.", "correct", ()),
    ],
    "signs of every form": [
        ("numeric", "-5", "The answer is \u20135.", "correct", ()),
        ("numeric", "5", "The answer is \u20135.", "wrong", ()),
        ("numeric", "-5", "The answer is minus 5 degrees.", "correct", ()),
        ("numeric", "5", "The answer is minus 5 degrees.", "wrong", ()),
        ("math", "-5", "The answer is \u20135", "correct", ()),
    ],
    "Markdown": [
        ("numeric", "18", "The answer is __18__.", "correct", ()),
        ("numeric", "18", "Answer: _18_", "correct", ()),
    ],
    "no numbers": [
        ("numeric", "16", "The answer is \\sqrt{16}.", "wrong", ()),
        ("numeric", "3", "The answer is 3\\pi.", "wrong", ()),
    ],
    "letters that are no answer": [
        (
            "choice",
            "A",
            "The answer is vitamin C.",
            "correct",
            ("Vitamin C", "Vitamin D", "Vitamin A", "Vitamin B"),
        ),
        ("choice", "B", "Answer: Group A", "correct", ("Group B", "Group A", "Group D", "Group C")),
        (
            "choice",
            "B",
            "The answer is E. coli.",
            "correct",
            ("Influenza", "E. coli", "Malaria", "Rabies"),
        ),
        ("choice", "B", "The answer is J.", "unparsable", ("w", "x", "y", "z")),
    ],
    "options within other words": [
        ("choice", "A", "The result is 64.", "unparsable", ("4", "8", "16", "32")),
        ("choice", "B", "It must be female.", "correct", ("male", "female", "both", "neither")),
        ("choice", "A", "I am not sure about this one, sorry.", "unparsable", ("no", "yes")),
        ("choice", "A", "I do not know.", "unparsable", ("no", "yes")),
        ("choice", "B", "Yes, because nothing else fits.", "correct", ("no", "yes")),
        (
            "choice",
            "B",
            "It would take 150 minutes.",
            "unparsable",
            ("5 minutes", "50 minutes", "15 minutes", "10 minutes"),
        ),
    ],
    "abbreviations": [
        ("exact", "St. Louis", "The answer is St. Louis.", "correct", ()),
        ("exact", "Dr. Smith", "The answer is Dr. Smith.", "correct", ()),
        ("exact", "No. 5", "Answer: No. 5", "correct", ()),
        ("exact", "U.S. Navy", "The answer is U.S. Navy.", "correct", ()),
    ],
    "characters that mean the same": [
        ("exact", "caf\xe9", "The answer is cafe\u0301.", "correct", ()),
        ("exact", "O'Brien", "Answer: O\u2019Brien", "correct", ()),
        ("exact", "10-12", "Answer: 10\u201312", "correct", ()),
        ("exact", "Paris", "Answer: \u201cParis\u201d", "correct", ()),
    ],
    "punctuation within an answer": [
        ("exact", "apple; banana", "Answer: apple; banana", "correct", ()),
        ("exact", "Who's there?", "Answer: Who's there?", "correct", ()),
    ],
    "small magnitudes": [
        ("math", "1.6 \\times 10^{-19}", "\\boxed{9.1 \\times 10^{-31}}", "wrong", ()),
        ("math", "\\frac{1}{2^{99}}", "\\boxed{\\frac{1}{2^{98}}}", "wrong", ()),
        (
            "math",
            "\\left(\\frac{1}{2}\\right)^{60}",
            "\\boxed{\\left(\\frac{1}{2}\\right)^{61}}",
            "wrong",
            (),
        ),
    ],
    "bases": [
        ("math", "101_2", "\\boxed{101_8}", "wrong", ()),
    ],
    "plus and minus": [
        ("math", "2-\\mathrm{e}", "\\boxed{2+\\mathrm{e}}", "wrong", ()),
        ("math", "5\\mathrm{e}", "\\boxed{5}", "wrong", ()),
    ],
    "factors and sums": [
        ("math", "4", "\\boxed{4\\sqrt(3)}", "wrong", ()),
        ("math", "3", "\\boxed{3 + \\text{something}}", "wrong", ()),
    ],
    "the empty set": [
        ("math", "1, 2, \\ldots, n", "\\boxed{1, 3, 5, \\ldots, 2n-1}", "wrong", ()),
    ],
    "sequences": [
        ("math", "\\emptyset", "\\boxed{\\varnothing}", "correct", ()),
    ],
    "hashes": [
        (
            "numeric",
            "18",
            "18 eggs are left.\n#### 18\n\nNote that there are 7 days in a week.",
            "correct",
            (),
        ),
        (
            "numeric",
            "18",
            "#### 18\n\nQuestion: Tom has 3 cats and gets 4 more. How many?\n"
            "Answer: He has 3+4=7.\n#### 7",
            "correct",
            (),
        ),
    ],
    "thoughts": [
        ("numeric", "42", "[THINK]So the answer is 41? No.[/THINK]42", "correct", ()),
        (
            "numeric",
            "42",
            "<|channel|>analysis<|message|>the answer is 41?<|end|>"
            "<|start|>assistant<|channel|>final<|message|>The result is 42.",
            "correct",
            (),
        ),
        (
            "numeric",
            "42",
            "<seed:think>the answer is 41</seed:think>The result is 42.",
            "correct",
            (),
        ),
    ],
}
#: Answers that are wrong, or none: nothing may make them right.
CONTROLS: list[Case] = [
    ("numeric", "12", "\u7b54\u6848\u662f13\u3002", "wrong", ()),
    ("numeric", "2", "It is 2 1/2.", "wrong", ()),
    ("numeric", "12", "The answer is 12 000.", "wrong", ()),
    ("numeric", "3", "The answer is 3 x 10^8.", "wrong", ()),
    ("numeric", "5", "The answer is minus 5.", "wrong", ()),
    ("numeric", "7", "#### 18\nAnd 7 more remain.", "wrong", ()),
    ("choice", "C", "The answer is vitamin D.", "wrong", ("Vitamin A", "Vitamin D", "Vitamin C")),
    ("choice", "A", "The patient is female.", "wrong", ("male", "female")),
    ("choice", "A", "I do not know.", "unparsable", ("no", "yes")),
    ("exact", "St", "The answer is St. Louis.", "wrong", ()),
    ("exact", "cafe", "The answer is caf\u00e9.", "wrong", ()),
    ("math", "x+1", r"\boxed{x-1}", "wrong", ()),
]


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=f"{form}-{number}")
        for form, cases in CASES.items()
        for number, case in enumerate(cases)
    ],
)
def test_an_answer_of_any_form_is_read(case: Case) -> None:
    kind, reference, text, status, choices = case
    example = Example(id="e", question="?", references=(reference,), kind=kind, choices=choices)
    assert grade(example, text).status == status


@pytest.mark.parametrize("case", CONTROLS, ids=lambda case: case[2][:30])
def test_a_wrong_answer_stays_wrong_in_any_form(case: Case) -> None:
    test_an_answer_of_any_form_is_read(case)
