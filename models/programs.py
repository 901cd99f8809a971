"""Python programs in what models write: found, completed and compared, never run. Pure."""

from __future__ import annotations

import ast
import re
import textwrap
import warnings

_FENCE = re.compile(
    r"^[ \t]*(?:```|~~~)[ \t]*(?:python|py|python3)?[ \t]*\n(.*?)(?:^[ \t]*(?:```|~~~)|\Z)",
    re.S | re.M | re.I,
)
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_CODE_START = re.compile(r"^(?:from \w|import \w|def \w|class \w|@\w|async def \w)", re.M)


def complete(text: str, question: str = "") -> str | None:
    """The first fenced block of `text`, or else all of it where that is Python, as a program.

    Where `question` holds a program that ends in an unfinished function, what goes on from it (a
    body) is put under it, and what defines that function anew gets the question's beginning, its
    imports and helpers, before it. None where the outcome is not Python.
    """
    fence = _FENCE.search(text)
    code = (fence[1] if fence else text).strip("\n")
    stub = prompt_of(question)
    for program in _candidates(code, stub):
        if program.strip() and _tree(program) is not None:
            return program
    return None


def prompt_of(question: str) -> str:
    """The program in a question: its first fenced block, or all from the first line of code."""
    if fence := _FENCE.search(question):
        return fence[1].rstrip() + "\n"
    start = _CODE_START.search(question)
    return question[start.start() :].rstrip() + "\n" if start else ""


def programs_alike(a: str, b: str) -> bool:
    """Whether they are the same but for comments, layout and docstrings."""
    left, right = _tree(a), _tree(b)
    if left is None or right is None:
        return a.strip() == b.strip()
    return ast.dump(_undocumented(left)) == ast.dump(_undocumented(right))


def _candidates(code: str, stub: str) -> list[str]:
    """What the program could be, the likeliest first."""
    dedented = textwrap.dedent(code) + "\n"
    name = _last_function(stub)
    if name is None:
        return [dedented]
    if re.search(rf"^(?:async )?def {name}\b", dedented, re.M):
        return [_before(stub, name) + dedented, dedented]
    body = textwrap.indent(dedented, "    ")
    # A body whose first line lost its indent, as models' often do.
    ragged = "    " + code.lstrip() + "\n"
    return [stub + body, stub + ragged, stub + code + "\n"]


def _last_function(stub: str) -> str | None:
    names = re.findall(r"^(?:async )?def (\w+)", stub, re.M)
    return names[-1] if names else None


def _before(stub: str, name: str) -> str:
    """What stands before the last function: imports and helpers."""
    starts = list(re.finditer(rf"^(?:@.*\n)*(?:async )?def {name}\b", stub, re.M))
    before = stub[: starts[-1].start()] if starts else ""
    return before if before.strip() and _tree(before) is not None else ""


def _tree(code: str) -> ast.Module | None:
    try:
        # What a model wrote may hold "\\d", which is worth a warning, to somebody else.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _undocumented(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return tree
