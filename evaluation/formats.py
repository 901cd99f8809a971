"""From a row of some data set to an example: one function for each format. Pure.

Formats are recognised by their fields (`recognise`), or named. A row that does not fit raises
UnusableRow, which says what is wrong with it.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, get_args

from evaluation.examples import Example, identified
from evaluation.visible import visible_tests, without_docstring
from models.answers import Kind
from models.extraction import NUMBER

Row = Mapping[str, Any]
LETTERS: Final = string.ascii_uppercase[:10]
KINDS: Final = get_args(Kind)


class UnusableRow(ValueError):
    """A row that is no example of its format."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which fields hold what, where the format does not say it."""

    question: str = "question"
    answer: str = "answer"
    kind: str = "kind"
    choices: str = "choices"
    tests: str = "tests"
    cluster: str = "cluster"
    images: str = "images"
    visible_tests: str = "visible_tests"


def plain(row: Row, columns: Columns) -> Example:
    """Question and answer, or answers; choices and tests where there are some.

    The kind is the row's own; or follows from choices and tests, or from the answer's look.
    """
    choices = _texts(row.get(columns.choices))
    tests = str(row.get(columns.tests) or "")
    answers = _texts(_field(row, columns.answer)) if not tests else _texts(row.get(columns.answer))
    named = row.get(columns.kind) or _kind_of(answers, choices, tests)
    # vqa finds what exact finds, and compares more freely.
    kind = "exact" if named == "vqa" else named
    if kind not in KINDS:
        raise UnusableRow(f"kind is {kind!r}, not one of {', '.join([*KINDS, 'vqa'])}")
    if not answers and not tests:
        raise UnusableRow(f"{columns.answer!r} is empty")
    if choices:
        answers = _letters(row.get(columns.answer), row.get(columns.choices), choices)
    return _example(
        _with_choices(_text(row, columns.question), choices),
        answers,
        kind,
        choices=choices,
        tests=tests,
        cluster=str(row.get(columns.cluster) or ""),
        grader="vqa" if named == "vqa" else "",
    )


def gsm8k(row: Row, columns: Columns) -> Example:
    """Grade-school mathematics: the number stands after `####` in the answer."""
    _, found, number = _text(row, columns.answer).rpartition("####")
    if not found or not NUMBER.search(number):
        raise UnusableRow(f"{columns.answer!r} ends with no '#### NUMBER'")
    return _example(_text(row, columns.question), (number.strip(),), "numeric")


def humaneval(row: Row, _columns: Columns) -> Example:
    """A function to complete (`prompt`), and a function `check` that tests it (`test`).

    Its docstring, whose examples are visible tests, goes below the code: models copy one inside.
    """
    prompt, name = _text(row, "prompt"), _text(row, "entry_point")
    code, told = without_docstring(prompt, name)
    question = (
        f"Write the Python function `{name}`. Reply with its code alone, in one code block, without"
        f" docstring and comments.\n\n```python\n{code}\n```"
    ) + (f"\n\nWhat it does:\n\n{told}" if told else "")
    solution = str(row.get("canonical_solution") or "")
    tests = f"{_text(row, 'test').strip()}\n\ncheck({name})\n"
    found = _example(question, (prompt + solution,) if solution else (), "code", tests=tests)
    return replace(found, visible_tests=visible_tests(prompt, name))


def mbpp(row: Row, _columns: Columns) -> Example:
    """A task in words (`text` or `prompt`) and a list of assertions (`test_list`)."""
    tests = "\n".join(_texts(_field(row, "test_list")))
    task = _text(row, "text" if "text" in row else "prompt")
    setup = "\n".join([*_texts(row.get("test_imports")), str(row.get("test_setup_code") or "")])
    solutions = _texts(row.get("code"))
    question = f"{task}\n\nThe program must pass these tests:\n\n{tests}"
    return _example(question, solutions, "code", tests=f"{setup}\n{tests}".strip())


_OPTION_1 = re.compile(r"\s*\b[Aa]nswer\s?(\d):\s*")
_TASK_OPENING = re.compile(r"^Please choose the correct answer to the question:\s*", re.I)
_TASK_ENDING = re.compile(r"\s*Answer format:.*\Z", re.S)


def arc(row: Row, columns: Columns) -> Example:
    """A question with "Answer1: ... Answer2: ..." in it, and an answer such as "answer3".

    The options are written anew with letters, as everywhere here.
    """
    text = _TASK_ENDING.sub("", _TASK_OPENING.sub("", _text(row, columns.question)))
    question, *numbered = _OPTION_1.split(text)
    choices = tuple(option.strip() for option in numbered[1::2])
    found = re.fullmatch(r"answer\s?(\d)", _text(row, columns.answer).strip(), re.I)
    if not choices or found is None or not 1 <= int(found[1]) <= len(choices):
        raise UnusableRow("the question has no options 'Answer1: ...', or the answer is none")
    letters = (LETTERS[int(found[1]) - 1],)
    return _example(_with_choices(question, choices), letters, "choice", choices=choices)


_OPTIONS_BLOCK = re.compile(r"^Options:\s*\n", re.M)
_OPTION_LINE = re.compile(r"^\(([A-J])\)\s*(.+)$", re.M)


def bbh(row: Row, _columns: Columns) -> Example:
    """A task of BIG-Bench Hard: `input` and `target`; options stand in the input as (A) ..."""
    question, target = _text(row, "input"), _text(row, "target").strip()
    letter = re.fullmatch(r"\(([A-J])\)", target)
    block = _OPTIONS_BLOCK.search(question)
    if letter and block:
        options = _OPTION_LINE.finditer(question[block.end() :])
        choices = tuple(found[2].strip() for found in options)
        if len(choices) > LETTERS.index(letter[1]):
            return _example(question, (letter[1],), "choice", choices=choices)
    kind: Kind = "numeric" if NUMBER.fullmatch(target) else "exact"
    return _example(question, (target,), kind)


FORMATS: Final[dict[str, Callable[[Row, Columns], Example]]] = {
    "plain": plain,
    "gsm8k": gsm8k,
    "humaneval": humaneval,
    "mbpp": mbpp,
    "arc": arc,
    "bbh": bbh,
}


def recognise(row: Row, columns: Columns) -> str:
    """The format that the fields of a row look like; plain where they look like none."""
    answer = str(row.get(columns.answer, ""))
    if {"prompt", "test", "entry_point"} <= row.keys():
        return "humaneval"
    if "test_list" in row:
        return "mbpp"
    if {"input", "target"} <= row.keys():
        return "bbh"
    if re.fullmatch(r"answer\d", answer) and "Answer1:" in str(row.get(columns.question)):
        return "arc"
    return "gsm8k" if re.search(r"^####", answer, re.M) else "plain"


def _kind_of(answers: Sequence[str], choices: Sequence[str], tests: str) -> Kind:
    if tests:
        return "code"
    if choices:
        return "choice"
    return "numeric" if answers and all(map(NUMBER.fullmatch, answers)) else "exact"


def _example(
    question: str,
    references: tuple[str, ...],
    kind: Kind,
    *,
    choices: tuple[str, ...] = (),
    tests: str = "",
    cluster: str = "",
    grader: str = "",
) -> Example:
    return identified(
        Example(
            id="",
            question=question.strip(),
            references=references,
            kind=kind,
            choices=choices,
            tests=tests,
            cluster=cluster,
            grader=grader,
        )
    )


def _with_choices(question: str, choices: Sequence[str]) -> str:
    options = [f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=False)]
    return "\n".join([question.strip(), "", *options]) if options else question


def _letters(answer: Any, given: Any, choices: Sequence[str]) -> tuple[str, ...]:
    """Answers as letters: by the labels that hubs keep beside choices, by place, or as written."""
    labels = [str(label) for label in given.get("label", ())] if isinstance(given, Mapping) else []
    found = []
    for one in answer if isinstance(answer, (list, tuple)) else [answer]:
        if str(one) in labels:
            one = labels.index(str(one))
        by_place = type(one) is int and 0 <= one < min(len(choices), len(LETTERS))
        found.append(LETTERS[one] if by_place else _letter(str(one), choices))
    return tuple(found)


def _letter(answer: str, choices: Sequence[str]) -> str:
    """An answer as a letter: it is one already, a number from 0, or an option's text."""
    if len(choices) > len(LETTERS):
        raise UnusableRow(f"it has {len(choices)} choices; at most {len(LETTERS)} have letters")
    if answer in choices:
        return LETTERS[choices.index(answer)]
    if answer.strip("().").upper() in LETTERS[: len(choices)]:
        return answer.strip("().").upper()
    if answer.isdigit() and int(answer) < len(choices):
        return LETTERS[int(answer)]
    raise UnusableRow(f"the answer {answer!r} is none of the {len(choices)} choices")


def _field(row: Row, name: str) -> Any:
    if row.get(name) is None:
        raise UnusableRow(f"no field {name!r}; it has {', '.join(map(str, row)) or 'none'}")
    return row[name]


def _text(row: Row, name: str) -> str:
    value = _field(row, name)
    if not isinstance(value, str) or not value.strip():
        raise UnusableRow(f"{name!r} is no text, or empty")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    """One text or many; numbers and booleans as they are written."""
    if value is None or value == "":
        return ()
    if isinstance(value, Mapping):  # as hubs keep choices: {"text": [...], "label": [...]}
        value = value.get("text", ())
    many = value if isinstance(value, (list, tuple)) else [value]
    return tuple(str(one) for one in many)
