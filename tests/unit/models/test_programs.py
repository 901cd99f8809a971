"""A program is found by what is asked of it; tests that test nothing are told from others."""

from __future__ import annotations

from typing import Any

import pytest

from colm.evaluation.data.examples import Example
from colm.evaluation.data.formats import Columns, humaneval, mbpp, plain
from colm.evaluation.data.values import UnusableRow
from colm.evaluation.grading import grade
from colm.models.answers.compare import extract, extract_program, same
from colm.models.answers.program_tests import fault_of, names_under_test, stub_program

HALVES = '''from typing import List


def helper(x: float) -> float:
    """Half of x"""
    return x / 2


def halves(xs: List[float]) -> List[float]:
    """ Return halves of the numbers. """
'''
STUB = f"Complete it.\n\n```python\n{HALVES}```\n"
HALVES_TESTS = "assert halves([2, 4]) == [1.0, 2.0]\nassert helper(3) == 1.5"
DOUBLE = "Write it.\n\n```python\ndef double(x):\n```\n"
DOUBLE_TESTS = "def check(f):\n    assert f(2) == 4\ncheck(double)"
ADD = "Write a function to add one.\n\nassert add_one(1) == 2"
ADD_TESTS = "assert add_one(1) == 2"
BOX_TESTS = "assert area(Box(2, 3)) == 6"
NOT_IT = "```python\ndef double(x):\n    return x\n```"
G = "def double(x):\n    return 2 * x"
ADD_ONE = "def add_one(a):\n    return a + 1"
BOX = "class Box:\n    def __init__(self, w, h):\n        self.w, self.h = w, h"
AREA = "def area(box):\n    return box.w * box.h"


def fenced(*programs: str, language: str = "python") -> str:
    return "\nThen:\n".join(f"```{language}\n{program}\n```" for program in programs)


def passes(text: str, question: str, tests: str) -> bool:
    """Whether the program in `text`, as it is found, passes the tests; not in the sandbox."""
    program = extract_program(text, question, tests)
    names: dict[str, Any] = {"__name__": "program"}
    if program is None:
        return False
    exec(compile(program, "<program>", "exec", dont_inherit=True), names)
    exec(tests, names)
    return True


@pytest.mark.parametrize(
    "program",
    [
        "from __future__ import annotations\nfrom typing import List\n\n"
        "def halves(xs: List[float]):\n    return [x / 2 for x in xs]",
        '"""Halves."""\nfrom __future__ import annotations\n\n'
        "def halves(xs):\n    return [x / 2 for x in xs]",
        "# -*- coding: utf-8 -*-\nfrom __future__ import (\n    annotations,\n)\n\n"
        "def halves(xs):\n    return [x / 2 for x in xs]",
        "from __future__ import annotations\nfrom __future__ import division\n"
        "halves = lambda xs: [helper(x) for x in xs]",
    ],
)
def test_what_is_imported_from_the_future_comes_first(program: str) -> None:
    assert passes(fenced(program), STUB, HALVES_TESTS)


@pytest.mark.parametrize(
    "program",
    [
        "double = lambda x: 2 * x",
        "def twice(x):\n    return 2 * x\n\ndouble = twice",
        "from functools import partial\nfrom operator import mul\ndouble = partial(mul, 2)",
        "import sys\nif sys.version_info >= (3, 8):\n    def double(x):\n        return 2 * x\n"
        "else:\n    def double(x):\n        return x + x",
        "try:\n    from nowhere_at_all import double\nexcept ImportError:\n"
        "    def double(x):\n        return 2 * x",
        "class _Double:\n    def __call__(self, x):\n        return 2 * x\n\ndouble = _Double()",
        "def double_it(x):\n    return 2 * x\nfrom typing import Callable\n"
        "double: Callable[[int], int] = double_it",
        "triple, double = (lambda x: 3 * x), (lambda x: 2 * x)",
        "from functools import cache\n\n@cache\ndef double(x):\n    return 2 * x",
        "match 1:\n    case 1:\n        def double(x):\n            return 2 * x",
        "    return 2 * x",
        "    double = x\n    double += x\n    return double",
        "    def double(y):\n        return 2 * y\n    return double(x)",
    ],
)
def test_a_function_is_defined_in_any_way_or_is_a_body(program: str) -> None:
    assert passes(fenced(program), DOUBLE, DOUBLE_TESTS)


@pytest.mark.parametrize(
    ("programs", "tests"),
    [
        (["def inc(a):\n    return a + 1", "def add_one(a):\n    return inc(a)"], ADD_TESTS),
        (["def add_one(a):\n    return inc(a)", "def inc(a):\n    return a + 1"], ADD_TESTS),
        (["def plus(a):\n    return a", ADD_ONE], ADD_TESTS),
        (["STEP = 1", "def add_one(a):\n    return a + STEP"], ADD_TESTS),
        (["print(add_one(1))", ADD_ONE], ADD_TESTS),
        (["assert add_one(1) == 2", ADD_ONE], ADD_TESTS),
        ([ADD_ONE, "def test_add_one():\n    assert add_one(1) == 2"], ADD_TESTS),
        (["class Odd(Exception):\n    pass", ADD_ONE.replace("return", "Odd; return")], ADD_TESTS),
        (
            ["def inc(a):\n    return plus(a, 1)\n\nprint(inc(1))",
             "from operator import add as plus",
             "def add_one(a):\n    return inc(a)"],
            ADD_TESTS,
        ),
        ([BOX, AREA], BOX_TESTS),
        ([AREA, BOX], BOX_TESTS),
        ([BOX + "\n\n" + AREA], BOX_TESTS),
    ],
)  # fmt: skip
def test_the_block_counts_that_defines_what_tests_use_and_what_it_needs_goes_with_it(
    programs: list[str], tests: str
) -> None:
    assert passes(fenced(*programs), "Write it.", tests)
    assert passes(fenced(*programs), f"Write it so that it passes:\n\n{tests}", "")


@pytest.mark.parametrize(
    "language",
    ["python:main.py", "python{1}", "python3.11", "ipython", "text", "plaintext", "Python", "py3",
     'python title="a.py"', "{.python .numberLines}", "{python}", "python,linenos", "python-repl",
     "solution.py", "python 3.11", "python=", "code", "jupyter", "output"],
)  # fmt: skip
def test_a_fence_may_name_the_language_in_any_way(language: str) -> None:
    assert passes(fenced(G, language=language), DOUBLE, DOUBLE_TESTS)


@pytest.mark.parametrize("language", ["python3.11", "text", "{.python}", "python:main.py"])
def test_a_body_may_stand_in_any_fence(language: str) -> None:
    assert passes(fenced("    return 2 * x", language=language), DOUBLE, DOUBLE_TESTS)


@pytest.mark.parametrize(
    ("text", "question", "tests"),
    [
        (fenced(f"TAG = '</think>'\n{G}"), DOUBLE, DOUBLE_TESTS),
        (fenced(f"# <think> it is easy\n{G}"), DOUBLE, DOUBLE_TESTS),
        (fenced("    tag = '</think>'\n    return 2 * x"), DOUBLE, DOUBLE_TESTS),
        (f"TAG = '</think>'\n{G}", DOUBLE, DOUBLE_TESTS),
        (f"So:\n\n{G}\n    # ends with </think>\n\nThis adds up.", DOUBLE, DOUBLE_TESTS),
        (f"<think>\n{NOT_IT}\n</think>\n" + fenced(f"TAG = '</think>'\n{G}"), DOUBLE, DOUBLE_TESTS),
        (f"Maybe\n{NOT_IT}\nno. </think>\n{fenced(G)}", DOUBLE, DOUBLE_TESTS),
        (f"<think>```python\ndef double(x): </think>\n{fenced(G)}", DOUBLE, DOUBLE_TESTS),
        ("```def add_one(a): return a + 1```", ADD, ADD_TESTS),
        ("Use `add_one = lambda a: a + 1`.", ADD, ADD_TESTS),
        (f"[BEGIN]\n{ADD_ONE}\n[DONE]", ADD, ADD_TESTS),
        (f"[PYTHON]\n{ADD_ONE}\n[/PYTHON]", ADD, ADD_TESTS),
        (fenced(f"!pip install it\n%matplotlib inline\n{ADD_ONE}"), ADD, ADD_TESTS),
        (fenced(">>> def add_one(a):\n...     return a + 1\n..."), ADD, ADD_TESTS),
        (fenced(ADD_ONE.replace("    ", "\u00a0" * 4)), ADD, ADD_TESTS),
        ("> ```python\n> def add_one(a):\n>     return a + 1\n> ```", ADD, ADD_TESTS),
        (fenced(ADD_ONE).replace("\n", "\r\n"), ADD, ADD_TESTS),
    ],
)  # fmt: skip
def test_a_program_is_found_beside_whatever_else_a_reply_holds(
    text: str, question: str, tests: str
) -> None:
    assert passes(text, question, tests)


def test_a_thought_that_never_ended_holds_no_program() -> None:
    assert extract_program(f"<think>{fenced(G)}", DOUBLE, DOUBLE_TESTS) is None


@pytest.mark.parametrize(
    "part", ["x = " + "-" * 900 + "1", "x = " + "not " * 900 + "1", "x = a" + ".b" * 900]
)
def test_code_that_is_deep_is_no_traceback(part: str) -> None:
    text = fenced(part, "def add_one(a):\n    return x")

    extract(text, "code", question=ADD)
    assert same(part, part + "\n", "code")
    fault_of(f"{part}\nassert f(1)")


@pytest.mark.parametrize(
    ("tests", "names"),
    [
        ("assert f(1) == 2", {"f"}),
        ("def check(c):\n    assert c(1) == len([1])\ncheck(f)", {"f"}),
        ("import math\nassert math.isclose(area(Box(1)), 2)", {"area", "Box"}),
        ("x = [f(y) for y in range(3)]\nassert x", {"f"}),
        ("from program import f\nassert f(1)", {"f"}),
        ("def f():\n    return 1\nassert f()", set()),
        ("def test():\n    assert f(1)", set()),
        ("assert (", set()),
    ],
)
def test_names_that_tests_use_are_those_that_they_do_not_define(
    tests: str, names: set[str]
) -> None:
    assert names_under_test(tests) == names


@pytest.mark.parametrize(
    ("tests", "words"),
    [
        ("", "no tests"),
        (" \n", "no tests"),
        ("pass", "assert nothing"),
        ("f(1)", "assert nothing"),
        ("f(1) == 2", "assert nothing"),
        ("check_f(1)", "assert nothing"),
        ("assert True, 'this prints if it fails'", "assert nothing"),
        ("assert 1 == 1", "assert nothing"),
        ("assert (f(1) == 2, 'a tuple is true')", "assert nothing"),
        ("'assert f(1) == 2'", "assert nothing"),
        ("['assert f(1) == 2']", "assert nothing"),
        ("def test_f():\n    assert f(1) == 2", "nothing calls"),
        ("if __name__ == '__main__':\n    assert f(1) == 2", "nothing calls"),
        ("class T(unittest.TestCase):\n    def test(self):\n        assert f(1)", "nothing calls"),
        ("def f(x):\n    return 2\nassert f(1) == 2", "use nothing"),
        ("assert f(1) == 2, assert f(2) == 3", "no Python"),
        (">>> f(1)\n2", "no Python"),
    ],
)
def test_tests_that_any_program_or_none_passes_are_told(tests: str, words: str) -> None:
    assert words in str(fault_of(tests))


@pytest.mark.parametrize(
    "tests",
    [
        "assert f(1) == 2",
        "def check(candidate):\n    assert candidate(1) == 2\n\ncheck(f)",
        "def test_f():\n    assert f(1) == 2\n\ntest_f()",
        "import numpy as np\nnp.testing.assert_allclose(f(1), 2)",
        "if f(1) != 2:\n    raise ValueError",
        "try:\n    f(0)\nexcept ValueError:\n    pass\nelse:\n    raise AssertionError",
        "assert globals()['f'](1) == 2",
        "import program\nassert program.f(1) == 2",
        "import unittest\nclass T(unittest.TestCase):\n    def test(self):\n"
        "        self.assertEqual(f(1), 2)\nT('test').debug()",
    ],
)
def test_tests_that_can_find_a_program_wrong_have_no_fault(tests: str) -> None:
    assert fault_of(tests) is None


def test_a_program_that_does_nothing_defines_what_tests_use() -> None:
    names: dict[str, Any] = {}
    exec(stub_program("assert f(g(1), key=2)"), names)
    assert names["f"](names["g"](1), key=2) is None


MBPP = {"text": "Add one.", "code": ADD_ONE}
TESTS = ["assert add_one(1) == 2", "assert add_one(5) == 6"]


@pytest.mark.parametrize(
    "value",
    [
        TESTS,
        "['assert add_one(1) == 2', 'assert add_one(5) == 6']",
        '["assert add_one(1) == 2", "assert add_one(5) == 6"]',
        "['assert add_one(1) == 2'\n 'assert add_one(5) == 6']",
        "array(['assert add_one(1) == 2', 'assert add_one(5) == 6'], dtype=object)",
        "assert add_one(1) == 2\nassert add_one(5) == 6",
        ["assert add_one(1) == 2", "assert add_one(5) == 6", ""],
    ],
)
def test_tests_are_read_however_a_row_writes_them(value: object) -> None:
    wanted = "\n".join(TESTS)

    assert mbpp({**MBPP, "test_list": value}, Columns()).tests == wanted
    found = plain({"question": "Add one.", "tests": value}, Columns())
    assert (found.kind, found.tests) == ("code", wanted)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"test_list": []}, "no tests"),
        ({"test_list": [""]}, "no tests"),
        ({"test_list": "[]"}, "no tests"),
        ({"test_list": None}, "no value"),
        ({"test_list": [None]}, "nor a list of texts"),
        ({"test_list": {"a": "assert f(1)"}}, "nor a list of texts|text"),
        ({"test_list": ["assert True"]}, "assert nothing"),
        ({"test_list": TESTS, "test_setup_code": ADD_ONE}, "use nothing"),
    ],
)  # fmt: skip
def test_a_task_whose_tests_test_nothing_is_a_bad_row(row: dict[str, Any], words: str) -> None:
    with pytest.raises(UnusableRow, match=words):
        mbpp({**MBPP, **row}, Columns())


@pytest.mark.parametrize(
    ("test", "words"),
    [
        ("def check(candidate):\n    pass", "does not use"),
        ("def check(candidate):\n    assert True", "does not use"),
        ("def check(candidate):\n    x = 5\n    assert x == 5", "does not use"),
        ("def test(candidate):\n    assert candidate(1) == 2", "no function check"),
        ("assert f(1) == 2", "no function check"),
        ("def check(candidate)\n    assert", "no Python"),
    ],
)
def test_a_function_whose_tests_test_nothing_is_a_bad_row(test: str, words: str) -> None:
    row = {"prompt": "def f(x):\n    '''Does it.'''\n", "entry_point": "f", "test": test}
    with pytest.raises(UnusableRow, match=words):
        humaneval(row, Columns())


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"kind": "code", "answer": "def f(): pass"}, "no tests"),
        ({"kind": "numeric", "answer": "4", "tests": "assert f(1)"}, "holds tests"),
        ({"answer": "def f(): pass", "test_cases": ["assert f() == 1"]}, "seems to hold tests"),
    ],
)
def test_tests_are_neither_dropped_nor_missing(row: dict[str, Any], words: str) -> None:
    with pytest.raises(UnusableRow, match=words):
        plain({"question": "Write f.", **row}, Columns())


@pytest.mark.parametrize(
    "tests",
    [
        ADD_TESTS,
        "try:\n    assert add_one(1) == 2\nexcept Exception:\n    pass",
        "assert globals().get('add_one', 1)",
        "import unittest\nclass T(unittest.TestCase):\n    def test(self):\n"
        "        self.assertEqual(add_one(1), 2)\nT('test').run()",
    ],
)
def test_a_program_that_does_nothing_is_never_right(tests: str) -> None:
    asked = Example(id="e", question="Add one.", references=(), kind="code", tests=tests)

    for program in ("x = 1", "def add_one(a):\n    pass"):
        assert grade(asked, fenced(program)).status != "correct"
    right = grade(asked, fenced(ADD_ONE))
    if tests == ADD_TESTS:
        assert right.status == "correct", right
    else:
        assert right.status == "error"
        assert right.reason == "its tests pass a program that does nothing"
