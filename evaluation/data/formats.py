"""From a row of some data set to an example: one function for each format. Pure.

Formats are recognised by their fields (`recognise`), or named. A row that does not fit raises
UnusableRow, which says what is wrong with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, get_args

from colm.evaluation.data.docstring_tests import docstring_tests, without_docstring
from colm.evaluation.data.examples import Example, identified
from colm.evaluation.data.options import (
    LETTERS,
    PLACES,
    Options,
    letter_of,
    letters_of,
    number_in,
    options_in,
    options_of,
    refuse_unread,
)
from colm.evaluation.data.values import Row, UnusableRow, answers, code, field, given, text, texts
from colm.models.answers.compare import Kind, extract
from colm.models.answers.numerals import NUMBER
from colm.models.answers.program_tests import fault_of, fault_of_function

KINDS: Final = get_args(Kind)


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which fields hold what, where the format does not say it."""

    question: str = "question"
    answer: str = "answer"
    kind: str = "kind"
    #: One field with all options, or several with one each; "" is none, None looks for them.
    choices: str | tuple[str, ...] | None = None
    #: The number of the first option, where answers are numbers: 0 unless it is said.
    first: int | None = None
    tests: str = "tests"
    cluster: str = "cluster"
    images: str = "images"
    visible_tests: str = "visible_tests"


def plain(row: Row, columns: Columns) -> Example:
    """Question and answer, or answers; choices and tests where there are some.

    The kind is the row's own; or follows from choices and tests, or from the answer's look.
    """
    question = text(row, columns.question, "data.question")
    named = given(row, columns.kind) or None
    if named is not None and named not in (*KINDS, "vqa"):
        raise UnusableRow(f"kind is {named!r}, not one of {', '.join([*KINDS, 'vqa'])}")
    # vqa finds what exact finds, and compares more freely.
    kind: Kind | None = "exact" if named == "vqa" else named
    if tests := code(given(row, columns.tests), columns.tests):
        if kind not in ("code", None):
            raise UnusableRow(f"kind is {named}, and {columns.tests!r} holds tests")
        solutions = texts(given(row, columns.answer), columns.answer)
        found = _example(question, solutions, "code", tests=_tested(tests))
    else:
        found = _compared(row, columns, question, kind)
    if cluster := given(row, columns.cluster):
        found = replace(found, cluster=str(cluster))
    return identified(replace(found, grader="vqa")) if named == "vqa" else found


def _compared(row: Row, columns: Columns, question: str, kind: Kind | None) -> Example:
    """An example whose answer is compared with the references."""
    _refuse_unread_tests(row, columns)
    if kind == "code":
        raise UnusableRow(f"kind is code, and {columns.tests!r} holds no tests")
    options = options_of(row, columns.choices, (columns.question, columns.answer))
    if options:
        right = _right(row, columns, options)
        shown = _with_choices(question, options.texts)
        return _example(shown, right, kind or "choice", choices=options.texts)
    worked, found = _references(row, columns.answer, boxed=kind != "text")
    listed = options_in(question) if kind in ("choice", None) else None
    if listed and (letters := _listed_letters(found, listed, kind)):
        return _example(question, letters, "choice", choices=listed.texts)
    kind = kind or ("math" if worked else _kind_of(found))
    return _example(question, _gradable(found, kind), kind, worked=worked)


def _references(row: Row, name: str, *, boxed: bool = True) -> tuple[str, tuple[str, ...]]:
    r"""The answers; of a worked solution with `\boxed{}`, of any length, what is in the box, and
    before that the solution itself."""
    found = answers(field(row, name, "data.answer"), name)
    if not found:
        raise UnusableRow(f"{name!r} is empty")
    if not boxed or not any(map(_BOX.search, found)):
        return "", found
    inner = [extract(box, "math") if (box := _last_box(one)) else None for one in found]
    if None in inner:
        raise UnusableRow(f"{name!r} has no answer in its \\boxed{{}}")
    return found[0], tuple(filter(None, inner))


def _last_box(text: str) -> str | None:
    """The last box with what is in it; None where it is not closed."""
    text = _BARE_BOX.sub(r"\1{\2}", text)
    start = max(text.rfind("\\boxed"), text.rfind("\\fbox"))
    depth = 0
    for end in range(max(start, 0), len(text)):
        depth += (text[end] == "{") - (text[end] == "}")
        if text[end] == "}" and not depth:
            return text[start : end + 1]
    return None


def _right(row: Row, columns: Columns, options: Options) -> tuple[str, ...]:
    """The letters of the right options, of which a row may also tell the place."""
    others = (name for name in PLACES if name != columns.answer)
    places = [name for name in others if given(row, name) not in (None, "")]
    value = given(row, columns.answer)
    if value is None and places:
        value = given(row, places[0])
    if value is None or value == "" or value == []:
        field(row, columns.answer, "data.answer")
        raise UnusableRow(f"{columns.answer!r} is empty")
    letters = letters_of(value, options, columns.first or 0)
    for name in places:  # which may count from 1 where the answer itself does not
        if not any(set(letters) & set(_or_none(row[name], options, first)) for first in (0, 1)):
            raise UnusableRow(f"{columns.answer!r} is {letters[0]}, and {name!r} another option")
    return letters


def _or_none(value: Any, options: Options, first: int) -> tuple[str, ...]:
    try:
        return letters_of(value, options, first)
    except UnusableRow:
        return ()


def _listed_letters(
    found: Sequence[str], listed: Options, kind: Kind | None
) -> tuple[str, ...] | None:
    """The answers as letters of the options that the question lists; None where they are none."""
    try:
        return letters_of(list(found), listed)
    except UnusableRow:
        if kind == "choice" or any(map(letter_of, found)):
            raise
        return None


def _gradable(found: tuple[str, ...], kind: Kind) -> tuple[str, ...]:
    """References that an answer of this kind can be equal to."""
    if kind == "choice":
        letters = tuple(filter(None, map(letter_of, found)))
        if len(letters) < len(found):
            raise UnusableRow("kind is choice, there are no choices, and the answer is no letter")
        return letters
    if kind == "numeric" and not all(map(NUMBER.search, found)):
        raise UnusableRow("kind is numeric, and the answer holds no number")
    return found


def number_of(row: Row, columns: Columns) -> tuple[int, int] | None:
    """The number by which a row names one of its options, and how many it has; None where it goes
    by anything else."""
    try:
        options = options_of(row, columns.choices, (columns.question, columns.answer))
        number = number_in(given(row, columns.answer), options) if options else None
    except UnusableRow:
        return None
    return None if options is None or number is None else (number, len(options.texts))


def _tested(tests: str) -> str:
    if fault := fault_of(tests):
        raise UnusableRow(fault)
    return tests


def _refuse_unread_tests(row: Row, columns: Columns) -> None:
    """Raise UnusableRow where a field seems to hold tests, which nothing reads."""
    for name in map(str, row):
        value = str(row[name]) if "test" in name.lower() and name != columns.tests else ""
        if name not in (columns.visible_tests, columns.question) and "assert " in value:
            raise UnusableRow(f"{name!r} seems to hold tests: call the field {columns.tests!r}")


def gsm8k(row: Row, columns: Columns) -> Example:
    """Grade-school mathematics: the number stands after `####` in the answer."""
    worked = text(row, columns.answer, "data.answer")
    _, found, number = worked.rpartition("####")
    if not found or not NUMBER.search(number):
        raise UnusableRow(f"{columns.answer!r} ends with no '#### NUMBER'")
    return _example(
        text(row, columns.question, "data.question"), (number.strip(),), "numeric", worked=worked
    )


_BOX = re.compile(r"\\(?:boxed|fbox)\b")
#: A box without braces, around one character.
_BARE_BOX = re.compile(r"(\\boxed|\\fbox)\s+([^\s{}\\$])")


def math(row: Row, columns: Columns) -> Example:
    r"""A `problem`, and its `answer`; or a `solution` of any length, with it in `\boxed{}`."""
    told = given(row, columns.answer) not in (None, "")
    if options_of(row, columns.choices, ("problem", columns.answer)):
        return plain(row, replace(columns, question="problem"))
    worked, found = _references(row, columns.answer if told else "solution")
    if not told and not worked:
        raise UnusableRow("'solution' has no answer in \\boxed{}")
    return _example(text(row, "problem"), found, "math", worked=worked)


def humaneval(row: Row, _columns: Columns) -> Example:
    """A function to complete (`prompt`), and a function `check` that tests it (`test`).

    Its docstring, whose examples are visible tests, goes below the code: models copy one inside.
    """
    prompt, name = text(row, "prompt"), text(row, "entry_point").strip()
    stub, told = without_docstring(prompt, name)
    question = (
        f"Write the Python function `{name}`. Reply with its code alone, in one code block, without"
        f" docstring and comments.\n\n```python\n{stub}\n```"
    ) + (f"\n\nWhat it does:\n\n{told}" if told else "")
    solution = str(given(row, "canonical_solution") or "")
    test = text(row, "test").strip()
    if fault := fault_of_function(test, "check"):
        raise UnusableRow(fault)
    tests = _tested(f"{test}\n\ncheck({name})\n")
    found = _example(question, (prompt + solution,) if solution else (), "code", tests=tests)
    return replace(found, visible_tests=docstring_tests(prompt, name))


def mbpp(row: Row, _columns: Columns) -> Example:
    """A task in words (`text` or `prompt`) and a list of assertions (`test_list`)."""
    tests = code(field(row, "test_list"), "test_list")
    task = text(row, "text" if "text" in row else "prompt")
    before = [code(given(row, name), name) for name in ("test_imports", "test_setup_code")]
    solutions = texts(given(row, "code"), "code")
    question = f"{task}\n\nThe program must pass these tests:\n\n{tests}"
    all_tests = _tested("\n".join(filter(None, [*before, tests])))
    return _example(question, solutions, "code", tests=all_tests)


_OPTION_1 = re.compile(r"\s*\b[Aa]nswer\s?(\d{1,2}):\s*")
_TASK_OPENING = re.compile(r"^Please choose the correct answer to the question:\s*", re.I)
_TASK_ENDING = re.compile(r"\s*Answer format:.*\Z", re.S)


def arc(row: Row, columns: Columns) -> Example:
    """A question with "Answer1: ... Answer2: ..." in it, and an answer such as "answer3".

    The options are written anew with letters, as everywhere here.
    """
    asked = _TASK_ENDING.sub(
        "", _TASK_OPENING.sub("", text(row, columns.question, "data.question"))
    )
    question, *numbered = _OPTION_1.split(asked)
    choices = tuple(option.strip() for option in numbered[1::2])
    found = re.fullmatch(
        r"answer\s?(\d{1,2})", text(row, columns.answer, "data.answer").strip(), re.I
    )
    if not choices or found is None or not 1 <= int(found[1]) <= len(choices):
        raise UnusableRow("the question has no options 'Answer1: ...', or the answer is none")
    if numbered[::2] != [str(n) for n in range(1, len(choices) + 1)] or not all(choices):
        raise UnusableRow("the question's options are not numbered from 'Answer1: ...' on")
    letters = letters_of(int(found[1]), Options(texts=choices), 1)
    return _example(_with_choices(question, choices), letters, "choice", choices=choices)


_OPTIONS_BLOCK = re.compile(r"^Options:[ \t]*\n", re.M)


def bbh(row: Row, columns: Columns) -> Example:
    """A task of BIG-Bench Hard: `input` and `target`; options stand in the input as (A) ..."""
    question, (target, *more) = text(row, "input"), answers(field(row, "target"), "target") or ("",)
    if more or not target.strip():
        raise UnusableRow("'target' is empty, or more than one text")
    if columns.choices is None:
        refuse_unread(row, ("input", "target"))
    target = target.strip()
    block = _OPTIONS_BLOCK.search(question)
    listed = options_in(question[block.end() :]) if block else None
    if listed and (letters := _listed_letters([target], listed, None)):
        return _example(question, letters, "choice", choices=listed.texts)
    if re.fullmatch(r"\([A-Z]\)", target):
        raise UnusableRow(f"the target is {target}, and the input lists no options from (A) on")
    kind: Kind = "numeric" if NUMBER.fullmatch(target) else "exact"
    return _example(question, (target,), kind)


FORMATS: Final[dict[str, Callable[[Row, Columns], Example]]] = {
    "plain": plain,
    "gsm8k": gsm8k,
    "math": math,
    "humaneval": humaneval,
    "mbpp": mbpp,
    "arc": arc,
    "bbh": bbh,
}


def recognise(row: Row, columns: Columns) -> str:
    """The format that the fields of a row look like; plain where they look like none."""
    answer = str(given(row, columns.answer) or "")
    if {"prompt", "test", "entry_point"} <= row.keys():
        return "humaneval"
    if "test_list" in row:
        return "mbpp"
    if {"input", "target"} <= row.keys():
        return "bbh"
    if re.fullmatch(r"answer\d", answer) and "Answer1:" in str(row.get(columns.question)):
        return "arc"
    if columns.question not in row and "problem" in row and row.keys() & {"solution", "answer"}:
        return "math"
    return "gsm8k" if re.search(r"^####", answer, re.M) else "plain"


def _kind_of(found: Sequence[str]) -> Kind:
    return "numeric" if all(map(NUMBER.fullmatch, found)) else "exact"


def _example(
    question: str,
    references: tuple[str, ...],
    kind: Kind,
    *,
    choices: tuple[str, ...] = (),
    tests: str = "",
    worked: str = "",
) -> Example:
    return identified(
        Example(
            id="",
            question=question.strip(),
            references=references,
            kind=kind,
            choices=choices,
            tests=tests,
            worked=worked,
        )
    )


def _with_choices(question: str, choices: Sequence[str]) -> str:
    options = [f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=False)]
    return "\n".join([question.strip(), "", *options]) if options else question
