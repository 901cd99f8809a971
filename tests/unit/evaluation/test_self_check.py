"""A data set is held against its own answers: whole sets of every form pass, faults are told."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from colm.evaluation.data.load import load
from colm.evaluation.data.self_check import DataCheck, check_data
from colm.workers.cli.main import app
from tests.house.repository import ROOT

NAMES = ["Ann", "Bo", "Cy", "Dee", "Eli", "Fay", "Gus", "Hal", "Ida", "Jo"]
COLOURS = [
    *("red", "orange", "yellow", "green", "blue", "brown"),
    *("magenta", "fuchsia", "mauve", "teal", "turquoise", "burgundy"),
]


def grade_school() -> list[dict[str, Any]]:
    """As GSM8K has them: reasons with sums in them, and the number after hashes."""
    return [
        {
            "question": f"{name} has {n} pens and buys {n + 3} boxes of {n * 250}. How many pens?",
            "answer": f"The boxes hold {n + 3} * {n * 250} = <<x=y>>{(n + 3) * n * 250} pens.\n"
            f"{name} has {n} more.\n#### {(n + 3) * n * 250 + n:,}",
        }
        for n, name in enumerate(NAMES, 2)
    ]


def science() -> list[dict[str, Any]]:
    """As ARC has them, in one text."""
    asked = "Please choose the correct answer to the question: Which one is {}?\n\n{}\n\n"
    return [
        {
            "question": asked.format(
                colour, " ".join(f"Answer{n}: {one} paint" for n, one in enumerate(four, 1))
            )
            + "Answer format: answer1/answer2/answer3/answer4",
            "answer": f"answer{four.index(colour) + 1}",
        }
        for colour in COLOURS[:8]
        for four in [COLOURS[max(0, COLOURS.index(colour) - 2) :][:4]]
    ]


def hard_tasks() -> list[dict[str, Any]]:
    """As BIG-Bench Hard has them: options from (A) on, words, numbers, brackets, lists of words."""
    options = "Options:\n" + "\n".join(
        f"({letter}) {one}" for letter, one in zip("ABCDEFGHIJKL", COLOURS, strict=True)
    )
    return [
        *(
            {"input": f"What colour is cup {n}?\n{options}", "target": f"({letter})"}
            for n, letter in enumerate("ABCDEFGHIJKL")
        ),
        {"input": "not ( True ) and ( True ) is", "target": "False"},
        {"input": "((-1 + 2 + 9 * 5) - (-2 + -4 + -4 * -7)) =", "target": "-24"},
        {"input": "Is it so?\nOptions:\n- Yes\n- No", "target": "Yes"},
        {"input": "Does it follow?\nOptions:\n- valid\n- invalid", "target": "invalid"},
        {"input": "Sort: oak elm ash", "target": "ash elm oak"},
        {"input": "Close: [ ( {", "target": "} ) ]"},
    ]


def functions() -> list[dict[str, Any]]:
    """As HumanEval has them."""
    return [
        {
            "task_id": f"T/{n}",
            "prompt": "from typing import List\n\n\n"
            f'def add_{n}(xs: List[int]) -> List[int]:\n    """Adds {n} to each.\n'
            f'    >>> add_{n}([1])\n    [{1 + n}]\n    """\n',
            "entry_point": f"add_{n}",
            "canonical_solution": f"    return [x + {n} for x in xs]\n",
            "test": "\n\nMETADATA = {}\n\n\ndef check(candidate):\n"
            f"    assert candidate([1, 2]) == [{1 + n}, {2 + n}]\n    assert True, 'the end'\n",
        }
        for n in (1, 2)
    ]


def tasks() -> list[dict[str, Any]]:
    """As MBPP has them."""
    return [
        {
            "text": f"Write a function to multiply by {n}.",
            "code": f"import math\r\n\r\ndef times_{n}(x):\r\n    return math.prod([x, {n}])",
            "task_id": n,
            "test_setup_code": "",
            "test_list": [f"assert times_{n}(1) == {n}", f"assert times_{n}(-2) == {-2 * n}"],
        }
        for n in (2, 3)
    ]


def competition() -> list[dict[str, Any]]:
    """As MATH has them: solutions of any length, their answers in a box."""
    told = "We note that multiplication is repeated addition, $6 \\cdot 7 = 7+7+7+7+7+7$. "
    answers = ["42", "\\frac{1}{2}", "x^2 + 1", "(3, 4)", "2\\sqrt{3}", "1{,}234", "\\text{even}"]
    return [
        {
            "problem": f"What is number {n}?",
            "level": "Level 1",
            "type": "Algebra",
            "solution": told * n + f"Hence the answer is $\\boxed{{{answer}}}$.",
        }
        for n, answer in enumerate(answers)
    ]


def professional() -> list[dict[str, Any]]:
    """As MMLU-Pro and MedQA have them."""
    return [
        *(
            {"question_id": n, "question": f"Which is number {n}?", "options": COLOURS[:10],
             "answer": "ABCDEFGHIJ"[n], "answer_index": n, "category": "paint"}
            for n in range(10)
        ),
        {"question": "Which is first?", "options": {"A": "red", "B": "blue"}, "answer": "red",
         "answer_idx": "A"},
    ]  # fmt: skip


FORMS = {
    "gsm8k": grade_school,
    "arc": science,
    "bbh": hard_tasks,
    "humaneval": functions,
    "mbpp": tasks,
    "math": competition,
    "mmlu-pro": professional,
}


def as_table(rows: list[dict[str, Any]]) -> str:
    written = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = csv.DictWriter(written, ["", *names])
    table.writeheader()
    table.writerows({"": n, **row} for n, row in enumerate(rows))
    return written.getvalue()


def checked(folder: Path, rows: list[dict[str, Any]], **options: Any) -> DataCheck:
    path = folder / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return check_data(load(str(path)), **options)


@pytest.mark.parametrize("form", FORMS)
def test_every_reference_of_a_whole_set_is_right_against_itself(tmp_path: Path, form: str) -> None:
    rows = FORMS[form]()
    found = checked(tmp_path, rows)

    assert found.sound, (found.bad, found.findings)
    assert found.examples == len(rows)


@pytest.mark.parametrize("form", FORMS)
def test_a_table_of_a_set_is_the_same_set(tmp_path: Path, form: str) -> None:
    rows = FORMS[form]()
    (tmp_path / "data.csv").write_text(as_table(rows), newline="")
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))

    table, lines = (load(str(tmp_path / name)) for name in ("data.csv", "data.jsonl"))
    assert table.bad == ()
    assert [e.references for e in table.examples] == [e.references for e in lines.examples]
    assert table.digest == lines.digest


@pytest.mark.parametrize(
    "source", sorted((ROOT / "examples").rglob("*.jsonl")), ids=lambda path: path.name
)
def test_the_sets_of_the_examples_are_right_against_themselves(source: Path) -> None:
    found = check_data(load(str(source)))

    assert found.examples > 0
    assert found.sound, (found.bad, found.findings)


SUM = {"question": "What is 2 and 2?", "answer": "4"}


@pytest.mark.parametrize(
    ("rows", "options", "status", "words"),
    [
        ([{"question": "Why?", "answer": "It is so. " * 20}], {}, "unparsable", "no exact answer"),
        ([SUM, {**SUM, "answer": "5"}], {}, "wrong", "asks the same and expects '4'"),
        ([{"question": "Who?", "answer": "Ann"}], {"grader": "numeric"}, "unparsable", "numeric"),
        (
            [{"text": "Add.", "code": "def f(x): return 3", "test_list": ["assert f(1) == 2"]}],
            {},
            "wrong",
            "AssertionError",
        ),
        (
            [{"text": "Add.", "test_list": ["try:\n    assert f(1) == 2\nexcept: pass"]}],
            {},
            "correct",
            "pass a program that does nothing",
        ),
    ],
)
def test_what_its_own_grader_judges_wrongly_is_told(
    tmp_path: Path, rows: list[dict[str, Any]], options: dict[str, Any], status: str, words: str
) -> None:
    found = checked(tmp_path, rows, **options)

    assert not found.sound
    (one,) = found.findings
    assert one.status == status
    assert words in one.reason


def test_a_judge_compares_no_references(tmp_path: Path) -> None:
    assert checked(tmp_path, [{"question": "Why?", "answer": "So. " * 50}], grader="judge").sound


def test_a_solution_that_is_not_there_is_no_fault_and_is_told(tmp_path: Path) -> None:
    found = checked(tmp_path, [{"text": "Add.", "test_list": ["assert f(1) == 2"]}])
    assert (found.sound, found.without_solution) == (True, 1)


def test_anyone_can_check_a_set_by_one_command(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    good.write_text(json.dumps(SUM))
    bad.write_text(json.dumps({**SUM, "source": "here"}) + '\n{"question": "Who?", "answer": NaN}')
    order = tmp_path / "night.toml"
    order.write_text(
        '[data]\nsource = "bad.jsonl"\n[grader]\nkind = "choice"\n[[entries]]\nname = "one"\n'
    )

    def run(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["evaluate", "--check", *words])
        return done.exit_code, done.output

    assert run(str(good))[0] == 0
    code, told = run(str(bad))
    assert code == 1
    assert "1 examples, 1 bad rows" in told
    assert "bad.jsonl:2: 'answer' holds no value" in told
    assert "unread fields: source" in told
    code, told = run(str(order), "--json")
    found = json.loads(told)
    assert (code, found["sound"], len(found["bad"])) == (1, False, 1)
    assert [one["status"] for one in found["findings"]] == ["unparsable"]
