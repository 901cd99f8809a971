"""Answers are found where they are, compared as what they are, and counted honestly."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colm.models.answers.compare import Kind, extract, same, vote


@pytest.mark.parametrize(
    ("kind", "text", "answer"),
    [
        ("exact", "Let me see.\nTherefore, the answer is False. I am sure.", "False"),
        ("exact", "True", "True"),
        ("exact", "**Answer:** `valid`", "valid"),
        ("exact", r"So it is \boxed{no}, or was it \boxed{yes}?", "yes"),
        ("exact", "word " * 40, None),
        ("exact", r"Answer: \text{True}", "True"),
        ("exact", r"So \boxed{\textbf{valid}}.", "valid"),
        ("exact", r"Answer: $\text{valid}$", "valid"),
        ("exact", "Answer: False\n\nThe answer is based on the second clause.", "False"),
        ("exact", "Answer: Let me see what there is to do. The answer is True.", "True"),
        ("numeric", "3 + 4 is 7, so the answer is 14 apples.", "14"),
        ("numeric", "First 3, then 4, which makes 7.", "7"),
        ("numeric", "5 + 67\n#### 1,234", "1,234"),
        ("numeric", r"\boxed{\$1{,}234.50}", "$1,234.50"),
        ("numeric", "Final answer: 3/4", "3/4"),
        ("numeric", "It is \N{MINUS SIGN}5 degrees", "\N{MINUS SIGN}5"),
        ("numeric", "between 3-5", "5"),
        ("numeric", "The answer is seven.", None),
        ("numeric", "Answer: 5 + 3 = 8 apples", "8"),
        ("numeric", "**Answer:** 100 - 20 = 80 dollars.", "80"),
        ("numeric", "The answer is $2 x 4 = $8.", "$8"),
        ("numeric", "Answer: 10 (since 2x = 20)", "10"),
        ("numeric", "Answer: x = 5", "5"),
        ("numeric", "Answer: 26.\n\nThe answer is in dollars. 3 days pass.", "26"),
        ("choice", "I think that the answer is (B).", "B"),
        ("choice", "The correct answer is C breathing mask", "C"),
        ("choice", "the answer is a lead apron (D)", "D"),
        ("choice", "B. Because (A) is wrong.", "B"),
        ("choice", "answer3", "C"),
        ("choice", "A cat is no dog.", None),
        ("choice", "A. red\nB. blue\nC. green", None),
        ("choice", "A. red\nB. blue\nC. green\nAnswer: B", "B"),
        ("choice", "I cannot tell.", None),
        ("choice", "A train is fast, so B is correct.", "B"),
        ("choice", "Option A is incorrect. Therefore, option D is the best choice.", "D"),
        ("choice", "D is the correct answer.", "D"),
        ("choice", "The last line: 'Answer: B'", "B"),
        ("choice", r"So it is \boxed{\text{B}}.", "B"),
        ("choice", "**Answer: (B)**", "B"),
        ("choice", "Answer: B\n\nThis answer is what C and A are not.", "B"),
        ("choice", "Answer: A and B", None),
        ("choice", "The answer is B or C.", None),
        ("choice", "The answer is B and I am sure.", "B"),
        ("choice", "The answer is A train", None),
        ("math", r"The value of $x$ is $2\sqrt{3}$.", r"2\sqrt{3}"),
        ("math", r"Hence \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        ("math", "It costs $5 and he pays $10 for 3.", "3"),
        ("math", "The answer is 5 because of that", "5"),
        ("math", r"so \[x = \frac{\pi}{4}\] holds", r"x = \frac{\pi}{4}"),
        ("text", "  many\n words ", "many words"),
        ("text", " \n", None),
    ],
)
def test_an_answer_is_found_where_the_order_says(kind: Kind, text: str, answer: str | None) -> None:
    assert extract(text, kind) == answer


@pytest.mark.parametrize("kind", ["exact", "numeric", "choice", "math", "code", "text"])
def test_a_thought_is_no_answer(kind: Kind) -> None:
    told = {"code": "```python\nx = 1\n```", "choice": "B"}.get(kind, "7")

    assert extract(f"<think>the answer is 5</think>{told}", kind) == extract(told, kind)
    assert extract(f"<think>the answer is {told}", kind) is None


@pytest.mark.parametrize(
    "told", ["-\n" * 20_000, "answer is " * 6_000, "```\n" * 9_000, "A is " * 6_000, "\n" * 30_000]
)
@pytest.mark.parametrize("kind", ["exact", "numeric", "choice", "math", "code"])
def test_a_model_that_repeats_itself_keeps_no_grader_busy(kind: Kind, told: str) -> None:
    began = time.process_time()
    extract(told, kind)
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    "told",
    [
        "\\[", "\\(", '"', "#### ", "(A) ", "is B ", "not A ", "\nQuestion: 1\n", "\\boxed{",
        "e\u0301", "\u0301\u0327", "the sun is not the moon ", "* ",
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["exact", "numeric", "choice", "math"])
def test_a_hundred_thousand_characters_are_read_in_one_pass(kind: Kind, told: str) -> None:
    text = told * (100_000 // len(told))

    found = extract(text, kind, choices=("the sun", "the moon"))

    assert found is None or len(found) <= len(text)


def test_what_is_announced_goes_before_what_only_looks_like_an_answer() -> None:
    text = "The answer is 12. Check: 4 * 3 = 12, unlike 99."

    assert extract(text, "numeric") == "12"
    assert extract(text + r" So \boxed{13}", "numeric") == "13"


STUB = '''Complete this function.

```python
from typing import List

def total(numbers: List[int]) -> int:
    """The sum."""
```
'''


FUNCTION = "def total(numbers: List[int]) -> int:\n    return sum(numbers)\n"


@pytest.mark.parametrize(
    "told",
    [
        "```python\n    return sum(numbers)\n```",
        "```\nreturn sum(numbers)\n```",
        "Here:\n```python\ndef total(numbers: List[int]) -> int:\n    return sum(numbers)\n```",
        "    out = sum(numbers)\n    return out",
        "out = 0\n    for n in numbers:\n        out += n\n    return out",
        "```python\ndef total(numbers: List[int]) -> int:\n    return sum(numbers)",
        f"```bash\npip install it\n```\nThen:\n```python\n{FUNCTION}```",
        f"Call it so:\n```python\ntotal([1, 2])\n```\nThe function:\n```python\n{FUNCTION}```",
        f"```python\ndef total(numbers):\n    pass\n```\nComplete:\n```python\n{FUNCTION}```",
        f"```python\n{FUNCTION}```\nTests:\n```python\ndef test():\n    total([1])\n```",
        "```python\nfrom math import fsum\n```\nand\n"
        "```python\ndef total(numbers):\n    return int(fsum(numbers))\n```",
        f"Answer: ```python\n{FUNCTION}```",
        f"1. So:\n   ```py\n   {FUNCTION.replace('    ', '       ')}   ```\n",
        "```python\ndef total(numbers):\n    '''Say\n\n    ```\n    6\n    ```\n    '''\n"
        "    return sum(numbers)\n```",
        "```python\n    return sum(numbers)\n```\nor\n```python\ndef test():\n    total([1])\n```",
        f"Here is the function:\n\n{FUNCTION}\nThis works, because it adds up.",
    ],
    ids=[
        "body", "ragged body", "function", "bare body", "half ragged", "fence left open",
        "other language first", "example first", "stub first", "tests after", "imports apart",
        "fence after words", "indented fence", "fence in docstring", "body then tests", "no fence",
    ],
)  # fmt: skip
def test_code_is_completed_to_a_program_with_the_questions_own(told: str) -> None:
    program = extract(told, "code", question=STUB)

    assert program is not None
    names: dict[str, object] = {}
    exec(program, names)
    assert names["total"]([1, 2, 3]) == 6  # type: ignore[operator]  # the program's function


def test_what_is_no_python_is_no_code() -> None:
    assert extract("I would add the numbers up.", "code") is None
    assert extract("```python\ndef (:\n```", "code", question=STUB) is None


def test_programs_are_the_same_but_for_comments_layout_and_docstrings() -> None:
    one = 'def f(x):\n    """Add."""\n    return x+1  # one more\n'

    assert same(one, "def f(x):\n\n    return (x + 1)\n", "code")
    assert not same(one, "def f(x):\n    return x + 2\n", "code")


@pytest.mark.parametrize(
    ("kind", "one", "other", "alike"),
    [
        ("exact", "(True)", "true.", True),
        ("exact", "(a) or (b)", "a) or (b", False),
        ("numeric", "$1,234.50", "1234.5", True),
        ("numeric", "72 clips", "72", True),
        ("numeric", "50 %", "50", True),
        ("numeric", "50 %", "0.5", False),
        ("numeric", "1/3", "0.33333333", True),
        ("numeric", "1/3", "0.3333", False),
        ("numeric", "0.1", "0.10", True),
        ("numeric", "123456789012345678901", "123456789012345678902", False),
        ("numeric", "1000000", "1000002", False),
        ("numeric", "1e3", "1000", True),
        ("numeric", "1/0", "1/0", True),
        ("choice", "B", "B", True),
        ("choice", "B", "C", False),
        ("math", r"\frac{1}{2}", "0.5", True),
        ("math", "x^2+1", "1+x^2", True),
        ("math", r"\sqrt{8}", r"2\sqrt{2}", True),
        ("math", "x=5", "5", True),
        ("math", r"\$32,348", "32348", True),
        ("math", "[0,1)", "[0,1]", False),
        ("math", r"\sin(x)^2+\cos(x)^2", "1", True),
        ("math", r"\pi", "3.14159", False),
        ("text", "Many  Words", "many words.", True),
    ],
)
def test_two_answers_are_the_same_or_not(kind: Kind, one: str, other: str, alike: bool) -> None:
    assert same(one, other, kind) is alike
    assert same(other, one, kind) is alike


@pytest.mark.parametrize(
    "formula",
    [
        "9^{9^{9}}",
        "10000000!",
        r"\binom{10000000}{5000000}",
        "((((10^{10})^{10})^{10})^{10})^{10}",
        "(x^{20}+y^{20}+z+1)^{40}",
        "1e999999999",
        "(" * 400 + "1" + ")" * 400,
    ],
)
def test_no_formula_takes_a_thread_for_long(formula: str) -> None:
    started = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        alike = pool.submit(lambda: same(formula, "(x+y)^{2}+z", "math")).result(100)

    assert not alike
    assert time.monotonic() - started < 60
    assert same(formula, formula, "math")


def test_formulas_are_compared_in_many_threads_at_once() -> None:
    pairs = [(f"x^{{{n}}}+{n}", f"{n}+x^{{{n}}}") for n in range(2, 10)]
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda pair: same(pair[0], pair[1], "math"), pairs))
    assert sys.getprofile() is None
    assert threading.current_thread() is threading.main_thread()


def test_numbers_need_no_sympy() -> None:
    program = (
        "import sys; from colm.models.answers.compare import vote; vote(['1', '2', '1/2'], 'math');"
        "vote(['1', 'x'], 'exact'); assert 'sympy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_an_unparsable_answer_agrees_with_nobody_and_counts_in_the_denominator() -> None:
    tally = vote([None, "4", "5", None, "5.0", None, "4.00", "5"], "numeric")

    assert tally.classes == ((1, 6), (2, 4, 7))
    assert (tally.answer, tally.majority) == ("5", (2, 4, 7))
    assert tally.share == 3 / 8  # papers.md section 2: n is always the denominator
    assert tally.unparsable == 3


def test_of_two_as_frequent_the_first_to_appear_wins() -> None:
    assert vote(["b", "a", "a", "b"], "exact").answer == "b"
    assert vote(["a", "b", "b", "a"], "exact").answer == "a"


def test_six_of_eight_reach_three_quarters_exactly() -> None:
    assert vote(["1"] * 6 + ["2", None], "numeric").share == 0.75


def test_nothing_has_no_majority() -> None:
    for answers in ([], [None, None]):
        tally = vote(answers, "math")
        assert (tally.answer, tally.majority, tally.share) == (None, (), 0.0)


@given(st.lists(st.sampled_from([None, "1", "1.0", "2", "3", "6/2"]), max_size=12))
def test_the_classes_hold_every_parsable_answer_once_in_order(answers: list[str | None]) -> None:
    tally = vote(answers, "numeric")

    places = [place for members in tally.classes for place in members]
    assert sorted(places) == [n for n, answer in enumerate(answers) if answer is not None]
    assert [members[0] for members in tally.classes] == sorted(m[0] for m in tally.classes)
    assert all(list(members) == sorted(members) for members in tally.classes)
    assert tally.share == max(map(len, tally.classes), default=0) / max(1, len(answers))
