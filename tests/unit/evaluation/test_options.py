"""A question is asked with all of its options, or not at all; its answer is one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from colm.evaluation.data.examples import Example
from colm.evaluation.data.formats import Columns, bbh, plain
from colm.evaluation.data.load import load
from colm.evaluation.data.values import UnusableRow
from colm.evaluation.grading import grade
from colm.tasks.config.run_config import read_config
from colm.workers.evaluator.data import read

RED = ["red", "blue", "green"]


def example(columns: Columns | None = None, **row: Any) -> Example:
    return plain({"question": "Which?", **row}, columns or Columns())


@pytest.mark.parametrize(
    ("row", "letter"),
    [
        ({"choices": RED, "answer": "B"}, "B"),
        ({"choices": RED, "answer": "(b)"}, "B"),
        ({"choices": RED, "answer": "Option B"}, "B"),
        ({"choices": RED, "answer": "(B) blue"}, "B"),
        ({"choices": RED, "answer": " Blue. "}, "B"),
        ({"choices": RED, "answer": 1}, "B"),
        ({"choices": RED, "answer": 1.0}, "B"),
        ({"choices": RED, "answer": "1.0"}, "B"),
        ({"choices": ["True", "False"], "answer": False}, "B"),
        ({"choices": [10, 20, 30], "answer": 20}, "B"),
        ({"choices": {"A": "red", "B": "blue"}, "answer": "B"}, "B"),
        ({"choices": {"a": "red", "b": "blue"}, "answer": "b"}, "B"),
        ({"choices": {"A": "red", "B": "blue"}, "answer": 1}, "B"),
        ({"choices": {"1": "red", "2": "blue"}, "answer": 2}, "B"),
        ({"choices": {"0": "red", "1": "blue"}, "answer": "1"}, "B"),
        ({"choices": {"A": "B", "B": "A"}, "answer": "B"}, "B"),
        ({"choices": {"text": RED, "label": ["1", "2", "3"]}, "answer": "2"}, "B"),
        ({"choices": {"text": RED, "label": ["0", "1", "2"]}, "answer": 1}, "B"),
        ({"choices": {"text": RED, "label": ["A", "B", "C"]}, "answerKey": "B"}, "B"),
        ({"choices": [{"key": "x", "text": "r"}, {"key": "y", "text": "b"}], "answer": "y"}, "B"),
        ({"options": RED, "answer": "B", "answer_index": 1}, "B"),
        ({"options": RED, "answer": "B", "answer_index": 2}, "B"),
        ({"options": RED, "answer_index": 1}, "B"),
        ({"options": {"A": "red", "B": "blue", "E": None}, "answer": "blue"}, "B"),
        ({"options": {"A": "red", "B": "blue"}, "answer": "blue", "answer_idx": "B"}, "B"),
        ({"options": ["A)21", "B)22", "C) 23"], "answer": "B"}, "B"),
        ({"options": ["(A)21", "(B)22"], "answer": "22"}, "B"),
        ({"options": "A. red\nB. blue", "answer": "B"}, "B"),
        ({"A": "red", "B": "blue", "C": "green", "D": "", "answer": "B"}, "B"),
        ({"choices": "['red', 'blue']", "answer": "B"}, "B"),
        ({"choices": '["red", "blue"]', "answer": "B"}, "B"),
        ({"choices": "['red' 'blue'\n 'it''s']", "answer": "B"}, "B"),
        (
            {"choices": "{'text': array(['r', 'b'], dtype=object), 'label': array(['A', 'B'])}",
             "answer": "B"},
            "B",
        ),
        ({"choices": [f"option {n}" for n in range(26)], "answer": "Z"}, "Z"),
    ],
)  # fmt: skip
def test_options_are_shown_however_a_row_keeps_them(row: dict[str, Any], letter: str) -> None:
    found = example(**row)

    assert (found.kind, found.references) == ("choice", (letter,))
    assert len(found.choices) >= 2
    assert all(
        f"\n{at}. {one}" in found.question for at, one in zip("AB", found.choices, strict=False)
    )


def test_options_that_repeat_a_letter_of_their_own_are_shown_with_one() -> None:
    assert example(options=["A) red", "B) blue"], answer="A").choices == ("red", "blue")


def test_every_option_with_the_words_of_the_answer_is_right() -> None:
    assert example(choices=["red", "red", "blue"], answer="red").references == ("A", "B")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"choices": RED, "answer": "D"}, "none of the 3"),
        ({"choices": RED, "answer": 3}, "none of the 3"),
        ({"choices": RED, "answer": -1}, "none of the 3"),
        ({"choices": RED, "answer": 0.5}, "none of the 3"),
        ({"choices": RED, "answer": True}, "none of the 3"),
        ({"choices": RED, "answer": ""}, "empty"),
        ({"choices": RED, "answer": None}, "no value"),
        ({"choices": RED, "answer": ["A", None]}, "null"),
        ({"choices": RED}, "no field 'answer'.*data.answer"),
        ({"choices": {"1": "red", "2": "blue"}, "answer": 0}, "none of the 2"),
        ({"choices": {"A": "red", "B": "blue"}, "answer": "C"}, "none of the 2"),
        ({"choices": ["C", "A", "B"], "answer": "A"}, "number or letter of one option"),
        ({"choices": [1, 2, 3], "answer": 2}, "number or letter of one option"),
        ({"options": RED, "answer": "C", "answer_index": 0}, "'answer_index' another"),
        ({"choices": ["red"], "answer": "A"}, "1 choices"),
        ({"choices": ["x"] * 27, "answer": "A"}, "27 choices"),
        ({"choices": ["red", None], "answer": "A"}, "null"),
        ({"choices": ["red", " "], "answer": "A"}, "empty"),
        ({"choices": ["red", ["blue"]], "answer": "A"}, "a list"),
        ({"choices": ["red", float("nan")], "answer": "A"}, "nan"),
        ({"choices": {"A": "red", "B": None, "C": "blue"}, "answer": "A"}, "null"),
        ({"choices": "red|blue", "answer": "A"}, "not a list of options"),
        ({"choices": 2, "answer": "A"}, "not a list of options"),
        ({"choices": {"red": 0, "blue": 1}, "answer": "red"}, "not with labels"),
        ({"choices": {"text": RED, "label": ["A", "B"]}, "answer": "A"}, "3 options and 2 labels"),
        ({"choices": RED, "options": RED, "answer": "A"}, "data.choices"),
        ({"endings": RED, "answer": "A"}, "'endings'.*data.choices"),
        ({"opa": "red", "opb": "blue", "answer": "red"}, "'opa', 'opb'.*data.choices"),
        ({"option1": "red", "option2": "blue", "answer": "1"}, "data.choices"),
        ({"distractor1": "red", "answer": "blue"}, "data.choices"),
        ({"Incorrect Answer 1": "red", "answer": "blue"}, "data.choices"),
        ({"mc1_targets": {"choices": RED}, "answer": "red"}, "data.choices"),
        ({"target_scores": {"red": 1}, "answer": "red"}, "data.choices"),
        ({"kind": "choice", "answer": "red"}, "no letter"),
    ],
)  # fmt: skip
def test_what_cannot_be_shown_or_answered_is_a_bad_row(row: dict[str, Any], words: str) -> None:
    with pytest.raises(UnusableRow, match=words):
        example(**row)


@pytest.mark.parametrize(
    "row",
    [{"choices": []}, {"choices": {}}, {"choices": "[]"}, {"options": None}, {"A": "", "B": ""},
     {"choices": {"text": [], "label": []}}, {"multiple_choice": True}, {"endings": []}],
)  # fmt: skip
def test_a_row_without_options_among_others_is_asked_without(row: dict[str, Any]) -> None:
    assert example(**row, answer="red").kind == "exact"


@pytest.mark.parametrize(
    ("choices", "row", "letter"),
    [
        ("endings", {"endings": ["red", "blue"], "answer": 1}, "B"),
        (("opa", "opb", "opc"), {"opa": "red", "opb": "blue", "opc": "", "answer": "b"}, "B"),
        (("option1", "option2"), {"option1": "red", "option2": "blue", "answer": "2"}, "B"),
        (("opts",), {"opts": RED, "answer": "B"}, "B"),
        ("options", {"choices": ["x", "y"], "options": RED, "answer": "green"}, "C"),
    ],
)
def test_options_are_found_in_the_fields_that_are_named(
    choices: str | tuple[str, ...], row: dict[str, Any], letter: str
) -> None:
    assert example(Columns(choices=choices), **row).references == (letter,)


def test_a_field_of_options_that_is_named_has_to_be_there_and_none_may_be_named() -> None:
    with pytest.raises(UnusableRow, match="no options in 'optoins'"):
        example(Columns(choices="optoins"), options=RED, answer="A")
    assert example(Columns(choices=""), options=RED, answer="red").kind == "exact"


def numbered(folder: Path, *numbers: int, first: int | None = None) -> list[str]:
    """The letters of rows whose answers are these numbers; or why there is none."""
    rows = [f'{{"question": "{n}?", "choices": ["a", "b", "c"], "answer": {n}}}\n' for n in numbers]
    path = folder / "a.jsonl"
    path.write_text("".join(rows))
    found = load(str(path), columns=Columns(first=first))
    return [e.references[0] for e in found.examples] + [bad.reason for bad in found.bad]


def test_numbers_count_from_0_unless_the_set_says_otherwise(tmp_path: Path) -> None:
    assert numbered(tmp_path, 0, 1, 2) == ["A", "B", "C"]
    assert numbered(tmp_path, 1, 2) == ["B", "C"]
    assert numbered(tmp_path, 1, 2, 3, first=1) == ["A", "B", "C"]
    assert numbered(tmp_path, 0, 3) == ["A", "the answer '3' is none of the 3 choices"]
    unclear = numbered(tmp_path, 1, 2, 3)
    assert (len(unclear), all("data.first" in reason for reason in unclear)) == (3, True)
    assert "none of the 3" in numbered(tmp_path, 1, 3, first=0)[1]


@pytest.mark.parametrize(
    ("question", "answer", "references"),
    [
        ("Which?\nA. red\nB. blue", "B", ("B",)),
        ("Which?\n(A) red\n(B) blue", "(B)", ("B",)),
        ("Which?\n- A) red\n- B) blue", "blue", ("B",)),
    ],
)
def test_options_that_a_question_lists_itself_are_its_options(
    question: str, answer: str, references: tuple[str, ...]
) -> None:
    found = plain({"question": question, "answer": answer}, Columns())

    assert (found.kind, found.references, found.choices) == ("choice", references, ("red", "blue"))
    assert found.question == question


def test_a_letter_that_the_question_does_not_list_is_a_bad_row() -> None:
    with pytest.raises(UnusableRow, match="none of the 2"):
        plain({"question": "Which?\nA. red\nB. blue", "answer": "C"}, Columns())
    listed = plain({"question": "Are these two?\nA. red\nB. blue", "answer": "yes"}, Columns())
    assert listed.kind == "exact"


COLOURS = "red orange yellow green blue brown magenta fuchsia mauve teal turquoise burgundy silver"
MANY = "What colour?\nOptions:\n" + "\n".join(
    f"({letter}) {colour}" for letter, colour in zip("ABCDEFGHIJKLM", COLOURS.split(), strict=True)
)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("So the answer is (L) burgundy.", "correct"),
        ("The answer is L.", "correct"),
        ("The answer is (L).", "correct"),
        (r"\boxed{\text{L}}", "correct"),
        ("L", "correct"),
        ("It is burgundy.", "correct"),
        ("The answer is (K).", "wrong"),
        ("The answer is (B), not (L).", "wrong"),
        ("Let us think.", "unparsable"),
    ],
)
def test_a_choice_may_have_more_than_ten_options(text: str, status: str) -> None:
    found = bbh({"input": MANY, "target": "(L)"}, Columns())

    assert (found.kind, found.references, len(found.choices)) == ("choice", ("L",), 13)
    assert grade(found, text).status == status


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"input": "W\nOptions:\n(A) x\n(B) y", "target": "(C)"}, "none of the 2"),
        ({"input": "W", "target": "(A)"}, "lists no options"),
        ({"input": "W", "target": ""}, "empty"),
        ({"input": "W", "target": ["a", "b"]}, "more than one"),
        ({"input": "W", "target": "a", "multiple_choice_targets": ["a", "b"]}, "data.choices"),
    ],
)
def test_a_target_that_names_no_option_is_a_bad_row(row: dict[str, Any], words: str) -> None:
    with pytest.raises(UnusableRow, match=words):
        bbh(row, Columns())


def test_an_evaluations_file_names_the_fields_of_the_options(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"q": "Which?", "opa": "red", "opb": "blue", "cop": 2}')
    (tmp_path / "a.toml").write_text(
        '[data]\nsource = "a.jsonl"\nquestion = "q"\nanswer = "cop"\nchoices = ["opa", "opb"]\n'
        'first = 1\n[[entries]]\nname = "one"\n'
    )
    (found,) = read(read_config(tmp_path / "a.toml").data).examples

    assert (found.references, found.choices) == (("B",), ("red", "blue"))
