"""Data sets are read whole: what cannot be used is told, and what can is the same every time."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colm.evaluation.data.examples import Example, distinct, part_of, sample, with_id
from colm.evaluation.data.formats import Columns
from colm.evaluation.data.load import load
from colm.models.errors import InvalidAsk
from colm.models.sandbox.runner import run


def jsonl(folder: Path, *rows: object, name: str = "data.jsonl") -> str:
    path = folder / name
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows) + "\n")
    return str(path)


def example(number: int, cluster: str = "") -> Example:
    return with_id(
        Example(id="", question=f"q{number}", references=("1",), kind="numeric", cluster=cluster)
    )


def test_a_plain_row_is_an_example_of_the_kind_that_it_looks_like(tmp_path: Path) -> None:
    source = jsonl(
        tmp_path,
        {"question": "What is 1 + 1?", "answer": 2},
        {"question": "Is it?", "answer": ["yes", "aye"]},
        {"question": "Which?", "choices": ["red", "blue"], "answer": "blue", "cluster": "colours"},
        {"question": "Which one?", "choices": {"text": ["red", "blue"]}, "answer": 0},
        {"question": "Add.", "tests": "assert f(1) == 2"},
        {"question": "Simplify.", "answer": "x^2", "kind": "math"},
    )

    found = load(source)

    assert found.bad == ()
    assert [(e.kind, e.references) for e in found.examples] == [
        ("numeric", ("2",)),
        ("exact", ("yes", "aye")),
        ("choice", ("B",)),
        ("choice", ("A",)),
        ("code", ()),
        ("math", ("x^2",)),
    ]
    assert found.examples[2].question == "Which?\n\nA. red\nB. blue"
    assert found.examples[2].cluster == "colours"


def test_bad_rows_are_told_with_place_and_reason_and_lose_nothing(tmp_path: Path) -> None:
    source = jsonl(
        tmp_path,
        {"question": "One?", "answer": "1"},
        "{not json",
        "[1, 2]",
        {"question": "", "answer": "1"},
        {"question": "No answer?"},
        {"question": "Which?", "choices": ["a", "b"], "answer": "c"},
        {"question": "Odd?", "answer": "1", "kind": "odd"},
        {"question": "One?", "answer": "1"},
        "",
        {"question": "Last?", "answer": "9"},
    )

    found = load(source)

    assert [e.question for e in found.examples] == ["One?", "Last?"]
    assert [row.where.partition(":")[2] for row in found.bad] == ["2", "3", "4", "5", "6", "7", "8"]
    reasons = [row.reason for row in found.bad]
    words = ["JSON", "object", "empty", "'answer'", "none of the 2", "odd", "repeats"]
    assert [word for word, reason in zip(words, reasons, strict=True) if word not in reason] == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (float("nan"), "no value"),
        (float("inf"), "inf, which is not a number"),
        (float("-inf"), "-inf, which is not a number"),
        ([1, float("nan")], "nan, which is not a number"),
        (None, "no value"),
        ("", "empty"),
        ("  ", "empty text"),
        ([], "empty"),
        ([""], "empty text"),
        ([None], "null"),
        (["4", None], "null"),
        ([["4"]], "a list"),
        ({"value": "4"}, "an object"),
        ({"text": []}, "empty"),
        ("nan", "'nan', which means no value"),
        ("<NA>", "means no value"),
        ("NULL", "means no value"),
        (["4", "NaN"], "means no value"),
    ],
)
def test_an_answer_that_is_none_is_a_bad_row(tmp_path: Path, answer: object, words: str) -> None:
    found = load(jsonl(tmp_path, {"question": "How many?", "answer": answer}))

    assert found.examples == ()
    assert words in found.bad[0].reason


@pytest.mark.parametrize(
    ("answer", "references"),
    [
        (42, ("42",)),
        (42.0, ("42.0",)),
        (0, ("0",)),
        (True, ("True",)),
        ("None", ("None",)),
        ("Infinity", ("Infinity",)),
        ({"text": ["a", "b"], "answer_start": [1, 2]}, ("a", "b")),
        ("['a', 'b']", ("['a', 'b']",)),
    ],
)
def test_an_answer_is_what_the_row_writes(
    tmp_path: Path, answer: object, references: tuple[str, ...]
) -> None:
    found = load(jsonl(tmp_path, {"question": "Which?", "answer": answer}))
    assert [e.references for e in found.examples] == [references], found.bad


@pytest.mark.parametrize(
    ("cell", "references"),
    [
        ("['yes', 'aye']", ("yes", "aye")),
        ('["yes", "aye"]', ("yes", "aye")),
        ("['yes' 'aye']", ("yes", "aye")),
        ("{'text': array(['yes'], dtype=object), 'answer_start': array([1])}", ("yes",)),
        ("[1, 2]", ("[1, 2]",)),
        ("{1, 2}", ("{1, 2}",)),
        ("[0, 5)", ("[0, 5)",)),
    ],
)
def test_a_cell_of_a_table_may_write_a_list_of_answers(
    tmp_path: Path, cell: str, references: tuple[str, ...]
) -> None:
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["question", "answer"], ["Which?", cell]])
    assert load(str(tmp_path / "a.csv")).examples[0].references == references


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"kind": "numeric", "answer": "many"}, "no number"),
        ({"answer": "so \\boxed{4"}, "no answer in its"),
    ],
)
def test_a_reference_that_no_answer_can_equal_is_a_bad_row(
    tmp_path: Path, row: dict[str, str], words: str
) -> None:
    (bad,) = load(jsonl(tmp_path, {"question": "How many?", **row})).bad
    assert words in bad.reason


LONG = "We note that $6 \\cdot 7 = 7+7+7+7+7+7$. " * 9


@pytest.mark.parametrize(
    ("row", "reference"),
    [
        ({"problem": "Q?", "solution": LONG + "So $\\boxed{42}$."}, "42"),
        (
            {"problem": "Q?", "solution": "\\boxed{1}, or rather \\boxed{\\frac{1}{2}}"},
            "\\frac{1}{2}",
        ),
        ({"problem": "Q?", "solution": "so $\\boxed 2$."}, "2"),
        ({"problem": "Q?", "solution": "it is \\fbox{x^2}"}, "x^2"),
        ({"problem": "Q?", "solution": LONG, "answer": "7"}, "7"),
        ({"question": "Q?", "answer": LONG + "\\boxed{42}"}, "42"),
    ],
)
def test_the_answer_of_a_worked_solution_is_what_is_in_its_box(
    tmp_path: Path, row: dict[str, str], reference: str
) -> None:
    (found,) = load(jsonl(tmp_path, row)).examples

    assert (found.kind, found.references) == ("math", (reference,))
    columns = Columns(question="problem", answer="solution")
    if "answer" not in row:
        (named,) = load(jsonl(tmp_path, row), columns=columns).examples
        assert named == found


def test_a_solution_without_a_box_is_a_bad_row(tmp_path: Path) -> None:
    (bad,) = load(jsonl(tmp_path, {"problem": "Q?", "solution": LONG})).bad
    assert "no answer in \\boxed{}" in bad.reason


def test_grade_school_mathematics_has_its_number_after_the_hashes(tmp_path: Path) -> None:
    found = load(jsonl(tmp_path, {"question": "How many?", "answer": "1 + 1 = 2\n#### 1,234"}))

    assert (found.examples[0].kind, found.examples[0].references) == ("numeric", ("1,234",))


def test_a_function_to_complete_comes_with_tests_that_its_solution_passes(tmp_path: Path) -> None:
    found = load(
        jsonl(
            tmp_path,
            {
                "task_id": "T/0",
                "prompt": 'def double(x):\n    """Twice x."""\n',
                "entry_point": "double",
                "canonical_solution": "    return 2 * x\n",
                "test": "def check(candidate):\n    assert candidate(2) == 4\n",
            },
        )
    ).examples[0]

    assert found.kind == "code"
    assert "```python\ndef double(x):\n```\n\nWhat it does:\n\nTwice x." in found.question
    assert run(found.references[0], found.tests).passed
    assert not run("def double(x): return x", found.tests).passed


def test_a_task_with_assertions_shows_them(tmp_path: Path) -> None:
    row = {"text": "Add.", "code": "def f(a): return a + 1", "test_list": ["assert f(1) == 2"]}
    found = load(jsonl(tmp_path, row)).examples[0]

    assert (found.kind, found.tests) == ("code", "assert f(1) == 2")
    assert "assert f(1) == 2" in found.question


def test_numbered_answers_get_letters(tmp_path: Path) -> None:
    question = (
        "Please choose the correct answer to the question: What is warm?\n\nAnswer1: the sun "
        "Answer2: the moon Answer3: a stone\n\nAnswer format: answer1/answer2/answer3"
    )
    found = load(jsonl(tmp_path, {"question": question, "answer": "answer1"})).examples[0]

    assert found.question == "What is warm?\n\nA. the sun\nB. the moon\nC. a stone"
    assert (found.kind, found.references) == ("choice", ("A",))
    assert found.choices == ("the sun", "the moon", "a stone")


def test_a_folder_of_tasks_is_read_by_name(tmp_path: Path) -> None:
    options = "Which?\nOptions:\n(A) red\n(B) blue"
    tasks = {
        "b.json": {"examples": [{"input": "1 + 1 =", "target": "2"}, "no row"]},
        "a.json": {"examples": [{"input": options, "target": "(B)"}]},
        "c.json": {"examples": [{"input": "not True is", "target": "False"}]},
    }
    for name, task in tasks.items():
        (tmp_path / name).write_text(json.dumps(task))

    found = load(str(tmp_path))

    assert [(e.kind, e.references[0]) for e in found.examples] == [
        ("choice", "B"),
        ("numeric", "2"),
        ("exact", "False"),
    ]
    assert found.examples[0].choices == ("red", "blue")
    assert [row.where for row in found.bad] == ["b.json:example 2"]


def test_a_table_is_read_by_the_columns_that_are_named(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text('ask,right\n"Two\nlines?",4\nOne?,5,6\nThree?,\n')

    found = load(str(path), columns=Columns(question="ask", answer="right"))

    assert [(e.question, e.references) for e in found.examples] == [("Two\nlines?", ("4",))]
    assert [row.where for row in found.bad] == ["data.csv:4", "data.csv:5"]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nowhere.jsonl", "cannot be read"),
        ("data.parquet", "is not a "),
        (".", "holds no"),
    ],
)
def test_what_cannot_be_read_at_all_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidAsk, match=words):
        load(source)


def test_an_unknown_format_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InvalidAsk, match="gsm8k"):
        load(jsonl(tmp_path, {}), format="gsm8")


def test_a_generator_makes_the_same_for_the_same_seed() -> None:
    pytest.importorskip("reasoning_gym")
    first, again, other = (load("gym:chain_sum", limit=5, seed=seed) for seed in (1, 1, 2))

    assert first == again
    assert first.digest == again.digest != other.digest
    assert len(first.examples) == 5
    with pytest.raises(InvalidAsk, match="chain_sum"):
        load("gym:chain_sums")


def test_a_hub_that_is_away_or_not_installed_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)

    with pytest.raises(InvalidAsk, match=r"pip install 'colm\[evaluation\]'"):
        load("hub:some/data")


def test_ids_depend_on_content_and_not_on_place() -> None:
    assert example(1).id == example(1, cluster="c").id != example(2).id
    kept, repeated = distinct([example(1), example(2), example(1)])
    assert ([e.question for e in kept], len(repeated)) == (["q1", "q2"], 1)


EXAMPLES = [example(number) for number in range(200)]


@given(st.integers(1, 200), st.integers(0, 5))
def test_a_sample_is_drawn_by_its_seed_and_keeps_the_order(size: int, seed: int) -> None:
    drawn = sample(EXAMPLES, size, seed)

    assert drawn == sample(EXAMPLES, size, seed)
    assert len(drawn) == size
    assert [e for e in EXAMPLES if e in drawn] == drawn


def test_no_example_is_in_both_parts_and_none_changes_sides() -> None:
    tuning, test = (part_of(EXAMPLES, part, 0.3) for part in ("tuning", "test"))

    assert sorted(e.id for e in (*tuning, *test)) == sorted(e.id for e in EXAMPLES)
    assert 40 <= len(tuning) <= 80
    assert part_of(EXAMPLES[50:], "tuning", 0.3) == [e for e in tuning if e in EXAMPLES[50:]]
    assert part_of(EXAMPLES, "all", 0.3) == EXAMPLES


def test_a_cluster_is_never_cut() -> None:
    clustered = [example(number, cluster=f"c{number % 10}") for number in range(100)]
    tuning = {e.cluster for e in part_of(clustered, "tuning", 0.5)}

    assert 0 < len(tuning) < 10
    assert not tuning & {e.cluster for e in part_of(clustered, "test", 0.5)}


def test_line_separators_within_a_text_end_no_row(tmp_path: Path) -> None:
    question = "One\u2028two\x85three\x0cfour?"
    (tmp_path / "a.jsonl").write_text(
        json.dumps({"question": question, "answer": "1"}, ensure_ascii=False) + "\r\n"
    )
    (tmp_path / "b.csv").write_text(f"question,answer\r\n{question},1\r\n", newline="")

    for name in ("a.jsonl", "b.csv"):
        found = load(str(tmp_path / name))
        assert [e.question for e in found.examples] == [question], found.bad


@pytest.mark.parametrize(
    ("choices", "answer", "letter"),
    [
        (["4", "2", "6", "1"], 1, "B"),
        (["4", "2", "6", "1"], "1", "D"),
        ({"text": ["sun", "moon"], "label": ["1", "2"]}, "1", "A"),
        ({"text": ["sun", "moon"], "label": ["A", "B"]}, "B", "B"),
        (["sun", "moon"], "moon", "B"),
    ],
)
def test_a_choice_is_named_by_its_place_its_label_or_its_words(
    tmp_path: Path, choices: object, answer: object, letter: str
) -> None:
    row = {"question": "Which?", "choices": choices, "answer": answer}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))

    (found,) = load(str(tmp_path / "a.jsonl")).examples
    assert found.references == (letter,)


def test_what_a_tasks_tests_import_is_imported(tmp_path: Path) -> None:
    row = {
        "prompt": "Write it.", "test_imports": ["import math"],
        "test_list": ["assert half(2) == math.floor(1.0)"],
    }  # fmt: skip
    (tmp_path / "a.jsonl").write_text(json.dumps(row))

    (found,) = load(str(tmp_path / "a.jsonl")).examples
    assert found.tests.startswith("import math\n")
