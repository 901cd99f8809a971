"""Conversion of a data set's row to an example: one function a format. Pure.

Formats are named or recognised by their fields. A row that does not fit raises UnusableRow.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, get_args

from colm.evaluation.data.docstring_tests import docstring_tests, without_docstring
from colm.evaluation.data.examples import Example, with_id
from colm.evaluation.data.options import (
    LETTERS,
    PLACES,
    ChoiceOptions,
    letter_of,
    letters_of,
    number_in,
    options_in,
    options_of,
    refuse_unread,
)
from colm.evaluation.data.values import (
    Row,
    UnusableRow,
    answers,
    code,
    field,
    text,
    texts,
    value_of,
)
from colm.models.answers.compare import Kind, extract
from colm.models.answers.numerals import NUMBER
from colm.models.answers.program_tests import fault_of, fault_of_function

KINDS: Final = get_args(Kind)


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Names of the fields."""

    question: str = "question"
    answer: str = "answer"
    kind: str = "kind"
    #: One field with all options, or one field each; "": none; None: search for them.
    choices: str | tuple[str, ...] | None = None
    #: The number of the first option in numeric answers; None: 0.
    first: int | None = None
    tests: str = "tests"
    cluster: str = "cluster"
    images: str = "images"
    visible_tests: str = "visible_tests"


def plain(row: Row, columns: Columns) -> Example:
    """Question and answers, with optional choices and tests.

    The kind is the row's, or follows from choices, tests or the form of the answer.
    """
    question = text(row, columns.question, "data.question")
    kind_name = value_of(row, columns.kind) or None
    if kind_name is not None and kind_name not in (*KINDS, "vqa"):
        raise UnusableRow(f"kind is {kind_name!r}, not one of {', '.join([*KINDS, 'vqa'])}")
    # vqa extracts like exact, and compares more loosely.
    kind: Kind | None = "exact" if kind_name == "vqa" else kind_name
    if tests := code(value_of(row, columns.tests), columns.tests):
        if kind not in ("code", None):
            raise UnusableRow(f"kind is {kind_name}, and {columns.tests!r} holds tests")
        solutions = texts(value_of(row, columns.answer), columns.answer)
        example = _example(question, solutions, "code", tests=_tested(tests))
    else:
        example = _compared(row, columns, question, kind)
    if cluster := value_of(row, columns.cluster):
        example = replace(example, cluster=str(cluster))
    return with_id(replace(example, grader="vqa")) if kind_name == "vqa" else example


def _compared(row: Row, columns: Columns, question: str, kind: Kind | None) -> Example:
    """An example whose answer is compared with the references."""
    _refuse_unread_tests(row, columns)
    if kind == "code":
        raise UnusableRow(f"kind is code, and {columns.tests!r} holds no tests")
    options = options_of(row, columns.choices, (columns.question, columns.answer))
    if options:
        right = _right(row, columns, options)
        prompt = _with_choices(question, options.texts)
        return _example(prompt, right, kind or "choice", choices=options.texts)
    worked, answer_texts = _references(row, columns.answer, boxed=kind != "text")
    listed = options_in(question) if kind in ("choice", None) else None
    if listed and (letters := _listed_letters(answer_texts, listed, kind)):
        return _example(question, letters, "choice", choices=listed.texts)
    kind = kind or ("math" if worked else _kind_of(answer_texts))
    return _example(question, _gradable(answer_texts, kind), kind, worked=worked)


def _references(row: Row, name: str, *, boxed: bool = True) -> tuple[str, tuple[str, ...]]:
    r"""The worked solution or "", and the answers; of a solution the content of its `\boxed{}`."""
    answer_texts = answers(field(row, name, "data.answer"), name)
    if not answer_texts:
        raise UnusableRow(f"{name!r} is empty")
    if not boxed or not any(map(_BOX.search, answer_texts)):
        return "", answer_texts
    inner = [
        extract(box, "math") if (box := _last_box(solution)) else None for solution in answer_texts
    ]
    if None in inner:
        raise UnusableRow(f"{name!r} has no answer in its \\boxed{{}}")
    return answer_texts[0], tuple(filter(None, inner))


def _last_box(text: str) -> str | None:
    """The last box with its content; None if it is not closed."""
    text = _BARE_BOX.sub(r"\1{\2}", text)
    start = max(text.rfind("\\boxed"), text.rfind("\\fbox"))
    depth = 0
    for end in range(max(start, 0), len(text)):
        depth += (text[end] == "{") - (text[end] == "}")
        if text[end] == "}" and not depth:
            return text[start : end + 1]
    return None


def _right(row: Row, columns: Columns, options: ChoiceOptions) -> tuple[str, ...]:
    """The letters of the right options. Fields with their place must agree."""
    others = (name for name in PLACES if name != columns.answer)
    places = [name for name in others if value_of(row, name) not in (None, "")]
    value = value_of(row, columns.answer)
    if value is None and places:
        value = value_of(row, places[0])
    if value is None or value == "" or value == []:
        field(row, columns.answer, "data.answer")
        raise UnusableRow(f"{columns.answer!r} is empty")
    letters = letters_of(value, options, columns.first or 0)
    for name in places:  # they may count from 1
        if not any(set(letters) & set(_or_none(row[name], options, first)) for first in (0, 1)):
            raise UnusableRow(f"{columns.answer!r} is {letters[0]}, and {name!r} another option")
    return letters


def _or_none(value: Any, options: ChoiceOptions, first: int) -> tuple[str, ...]:
    try:
        return letters_of(value, options, first)
    except UnusableRow:
        return ()


def _listed_letters(
    answer_texts: Sequence[str], listed: ChoiceOptions, kind: Kind | None
) -> tuple[str, ...] | None:
    """The answers as letters of the options in the question; None if they are no options."""
    try:
        return letters_of(list(answer_texts), listed)
    except UnusableRow:
        if kind == "choice" or any(map(letter_of, answer_texts)):
            raise
        return None


def _gradable(references: tuple[str, ...], kind: Kind) -> tuple[str, ...]:
    """References in the form of this kind. Raises UnusableRow."""
    if kind == "choice":
        letters = tuple(filter(None, map(letter_of, references)))
        if len(letters) < len(references):
            raise UnusableRow("kind is choice, there are no choices, and the answer is no letter")
        return letters
    if kind == "numeric" and not all(map(NUMBER.search, references)):
        raise UnusableRow("kind is numeric, and the answer holds no number")
    return references


def number_of(row: Row, columns: Columns) -> tuple[int, int] | None:
    """The number by which a row names an option, and the number of options; None if not numeric."""
    try:
        options = options_of(row, columns.choices, (columns.question, columns.answer))
        number = number_in(value_of(row, columns.answer), options) if options else None
    except UnusableRow:
        return None
    return None if options is None or number is None else (number, len(options.texts))


def _tested(tests: str) -> str:
    if fault := fault_of(tests):
        raise UnusableRow(fault)
    return tests


def _refuse_unread_tests(row: Row, columns: Columns) -> None:
    """Raise UnusableRow for an unread field that seems to hold tests."""
    for name in map(str, row):
        value = str(row[name]) if "test" in name.lower() and name != columns.tests else ""
        if name not in (columns.visible_tests, columns.question) and "assert " in value:
            raise UnusableRow(
                f"{name!r} seems to hold tests: rename the field to {columns.tests!r}"
            )


def gsm8k(row: Row, columns: Columns) -> Example:
    """Grade-school mathematics: the answer ends with `#### NUMBER`."""
    worked = text(row, columns.answer, "data.answer")
    _, separator, number = worked.rpartition("####")
    if not separator or not NUMBER.search(number):
        raise UnusableRow(f"{columns.answer!r} ends with no '#### NUMBER'")
    return _example(
        text(row, columns.question, "data.question"), (number.strip(),), "numeric", worked=worked
    )


_BOX = re.compile(r"\\(?:boxed|fbox)\b")
#: A box without braces, around one character.
_BARE_BOX = re.compile(r"(\\boxed|\\fbox)\s+([^\s{}\\$])")


def math(row: Row, columns: Columns) -> Example:
    r"""A `problem` with an `answer`, or with a `solution` that ends in `\boxed{}`."""
    has_answer = value_of(row, columns.answer) not in (None, "")
    if options_of(row, columns.choices, ("problem", columns.answer)):
        return plain(row, replace(columns, question="problem"))
    worked, references = _references(row, columns.answer if has_answer else "solution")
    if not has_answer and not worked:
        raise UnusableRow("'solution' has no answer in \\boxed{}")
    return _example(text(row, "problem"), references, "math", worked=worked)


def humaneval(row: Row, _columns: Columns) -> Example:
    """A function to complete (`prompt`) and a function `check` that tests it (`test`).

    The docstring, whose examples are visible tests, follows the code: models would copy it.
    """
    prompt, name = text(row, "prompt"), text(row, "entry_point").strip()
    stub, docstring = without_docstring(prompt, name)
    question = (
        f"Write the Python function `{name}`. Reply with its code alone, in one code block, without"
        f" docstring and comments.\n\n```python\n{stub}\n```"
    ) + (f"\n\nWhat it does:\n\n{docstring}" if docstring else "")
    solution = str(value_of(row, "canonical_solution") or "")
    test = text(row, "test").strip()
    if fault := fault_of_function(test, "check"):
        raise UnusableRow(fault)
    tests = _tested(f"{test}\n\ncheck({name})\n")
    example = _example(question, (prompt + solution,) if solution else (), "code", tests=tests)
    return replace(example, visible_tests=docstring_tests(prompt, name))


def mbpp(row: Row, _columns: Columns) -> Example:
    """A task (`text` or `prompt`) and a list of assertions (`test_list`)."""
    tests = code(field(row, "test_list"), "test_list")
    task = text(row, "text" if "text" in row else "prompt")
    before = [code(value_of(row, name), name) for name in ("test_imports", "test_setup_code")]
    solutions = texts(value_of(row, "code"), "code")
    question = f"{task}\n\nThe program must pass these tests:\n\n{tests}"
    all_tests = _tested("\n".join(filter(None, [*before, tests])))
    return _example(question, solutions, "code", tests=all_tests)


_OPTION_1 = re.compile(r"\s*\b[Aa]nswer\s?(\d{1,2}):\s*")
_TASK_OPENING = re.compile(r"^Please choose the correct answer to the question:\s*", re.I)
_TASK_ENDING = re.compile(r"\s*Answer format:.*\Z", re.S)


def arc(row: Row, columns: Columns) -> Example:
    """A question with "Answer1: ... Answer2: ..." and an answer "answer3"; options get letters."""
    task = _TASK_ENDING.sub("", _TASK_OPENING.sub("", text(row, columns.question, "data.question")))
    question, *numbered = _OPTION_1.split(task)
    choices = tuple(option.strip() for option in numbered[1::2])
    match = re.fullmatch(
        r"answer\s?(\d{1,2})", text(row, columns.answer, "data.answer").strip(), re.I
    )
    if not choices or match is None or not 1 <= int(match[1]) <= len(choices):
        raise UnusableRow(
            "the question has no options 'Answer1: ...', or the answer is none of them"
        )
    if numbered[::2] != [str(n) for n in range(1, len(choices) + 1)] or not all(choices):
        raise UnusableRow("the question's options are not numbered from 'Answer1: ...' on")
    letters = letters_of(int(match[1]), ChoiceOptions(texts=choices), 1)
    return _example(_with_choices(question, choices), letters, "choice", choices=choices)


_OPTIONS_BLOCK = re.compile(r"^Options:[ \t]*\n", re.M)


def bbh(row: Row, columns: Columns) -> Example:
    """A task of BIG-Bench Hard: `input` with options (A) ..., and `target`."""
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
    """The format by the fields of a row; plain if none matches."""
    answer = str(value_of(row, columns.answer) or "")
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


def _kind_of(references: Sequence[str]) -> Kind:
    return "numeric" if all(map(NUMBER.fullmatch, references)) else "exact"


def _example(
    question: str,
    references: tuple[str, ...],
    kind: Kind,
    *,
    choices: tuple[str, ...] = (),
    tests: str = "",
    worked: str = "",
) -> Example:
    return with_id(
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
