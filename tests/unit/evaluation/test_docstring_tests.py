"""Visible tests are what a docstring shows beyond doubt, and never what grades."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colm.evaluation.data.docstring_tests import docstring_tests, without_docstring
from colm.evaluation.data.examples import Dataset, with_id
from colm.evaluation.data.load import load
from colm.models.sandbox.runner import run


def shown(*lines: str) -> list[str]:
    """The tests of a function `f` with these lines in its docstring."""
    doc = "\n".join(f"    {line}" for line in lines)
    return docstring_tests(f"def f(x):\n    '''Does it.\n\n{doc}\n    '''\n", "f").splitlines()


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([">>> f(1)", "2", "", ">>> f('a')", "'b'"], ["(f(1)) == 2", "(f('a')) == 'b'"]),
        ([">>> f([1,", "... 2])", "[2,", " 3]"], ["(f([1, 2])) == [2, 3]"]),
        ([">>> round(f(1), 2) # two digits", "-0.5"], ["(round(f(1), 2)) == -0.5"]),
        ([">>> f(1) == 2", ">>> f(2) == 3"], ["f(1) == 2", "f(2) == 3"]),
        ([">>> f(1) == 2", "False"], ["(f(1) == 2) == False"]),
        (["f(1) == 2", "* f(-1) -> [3]", "f((1, 2)) = None"],
         ["f(1) == 2", "f(-1) == [3]", "f((1, 2)) == None"]),
        (["f('a=>b') ==> True", "f(x=1) ➞ 2  # why", "f('ü') # => 'u'"],
         ["f('a=>b') == True", "f(x=1) == 2", "f('ü') == 'u'"]),
        (["f(1) == 2", "f(1) == 2"], ["f(1) == 2"]),
    ],
)  # fmt: skip
def test_examples_of_a_docstring_become_tests(lines: list[str], expected: list[str]) -> None:
    assert shown(*lines) == [f"assert {test}" for test in expected]


@pytest.mark.parametrize(
    "lines",
    [
        ["f(1)", "2"],
        [">>> f(1)"],
        [">>> f(1)", "", "2"],
        [">>> f(1)", "2 or so"],
        [">>> f(1) == 2", "unless it rains"],
        [">>> f(1)", "[1, ..., 9]"],
        [">>> f(1)", "Traceback (most recent call last):", "ValueError"],
        [">>> print(f(1))", "2"],
        [">>> x = 1", ">>> f(x)", "2"],
        [">>> helper(f(1))", "2"],
        [">>> 1 + 1", "2"],
        ["f(x) == 2", "f(a) => False", "g(1) == 2"],
        ["f(1) == f(2)", "f(1) >= 2", "f(1) != 2", "f(1) == 1 + 9 = 10"],
        ["if f(1) == 2 it is well", "f(1) == 2 is wrong", "f(1) # never = 2"],
        ["f(1) == ('Venus')", "f(1) => true"],
        [">>> f('a", "b')", "'c'"],
        ["f(" + "(" * 5000],
    ],
)
def test_what_could_be_misread_is_left_out(lines: list[str]) -> None:
    assert shown(*lines) == []


def test_only_the_function_that_is_asked_for_is_looked_at() -> None:
    prompt = (
        "def g(x):\n    '''\n    g(1) == 2\n    f(1) == 9\n    '''\n\ndef f(x):\n    'f(1) == 3'\n"
    )
    assert docstring_tests(prompt, "f") == "assert f(1) == 3"
    assert docstring_tests(prompt, "h") == docstring_tests("def f(", "f") == ""


@given(st.text(), st.text())
def test_whatever_a_prompt_says_it_is_read(prompt: str, doc: str) -> None:
    docstring_tests(prompt, "f")
    assert isinstance(docstring_tests(f"def f():\n    {doc!r}\n", "f"), str)


def of(folder: Path, *rows: object) -> Dataset:
    path = folder / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load(str(path))


ROW = {
    "prompt": 'def double(x):\n    """Twice x.\n    >>> double(2)\n    4\n    """\n',
    "entry_point": "double",
    "canonical_solution": "    return 2 * x\n",
    "test": "def check(candidate):\n    assert candidate(3) == 6\n",
}


def test_a_function_to_complete_shows_its_examples_and_hides_its_tests(tmp_path: Path) -> None:
    found = of(tmp_path, ROW).examples[0]

    assert found.visible_tests == "assert (double(2)) == 4"
    assert run(found.references[0], found.visible_tests).passed
    assert not run("def double(x): return x", found.visible_tests).passed


def test_a_row_may_bring_visible_tests_of_its_own(tmp_path: Path) -> None:
    task = {"question": "Add one.", "tests": "assert f(1) == 2"}
    rows = [
        {**task, "visible_tests": ["assert f(0) == 1", "assert f(5) == 6"]},
        {**task, "question": "Add two.", "visible_tests": "assert f(0) == 2"},
        {**task, "question": "Add three."},
        {**task, "question": "Add four.", "visible_tests": {"f": 1}},
        {**ROW, "visible_tests": "assert double(9) == 18"},
        {"text": "Add.", "test_list": ["assert f(1) == 2"]},
    ]

    found = of(tmp_path, *rows)

    assert [e.visible_tests for e in found.examples] == [
        "assert f(0) == 1\nassert f(5) == 6", "assert f(0) == 2", "", "assert double(9) == 18", "",
    ]  # fmt: skip
    assert [row.reason for row in found.bad] == [
        "visible_tests is neither a text nor a list of texts"
    ]


def test_visible_tests_change_no_id(tmp_path: Path) -> None:
    found = of(tmp_path, ROW)
    bare = replace(found.examples[0], visible_tests="", id="")

    assert with_id(bare).id == found.examples[0].id == "6cd945f71fef02ea"
    assert replace(found, examples=(with_id(bare),)).digest == found.digest


HELPED = "import math\n\n\ndef g(x):\n    '''Helps.'''\n    return x\n\n\n"


@pytest.mark.parametrize(
    ("prompt", "code", "told"),
    [
        ('def f(x):\n    """Does it."""\n', "def f(x):", "Does it."),
        ("def f(\n    x: int,\n) -> int:\n    '''\n    A.\n      B.\n    '''\n\n",
         "def f(\n    x: int,\n) -> int:", "A.\n  B."),
        (f"{HELPED}def f(x):\n    '''Does it.'''\n", f"{HELPED}def f(x):", "Does it."),
        ("def f(x):\n    import math\n    '''Does it.'''\n",
         "def f(x):\n    import math\n    '''Does it.'''", ""),
        ("def f(x):\n    '''Does it.'''\n    y = x\n",
         "def f(x):\n    '''Does it.'''\n    y = x", ""),
        ("def f(x):\n    '''Does it.'''\n    # Begin here.\n",
         "def f(x):\n    '''Does it.'''\n    # Begin here.", ""),
        ("def f(x): '''Does it.'''\n", "def f(x): '''Does it.'''", ""),
        ("def f(x):\n    # as follows\n", "def f(x):\n    # as follows", ""),
    ],
)  # fmt: skip
def test_a_docstring_is_parted_from_the_code_where_nothing_follows_it(
    prompt: str, code: str, told: str
) -> None:
    assert without_docstring(prompt, "f") == (code, told)
