"""Python programs in what models write: found, completed and compared, never run. Pure."""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Sequence

from models.code_blocks import blocks_in, first_code, unfenced

_NAMED = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_DOCUMENTED = (ast.Module, *_NAMED)


def complete(text: str, question: str = "") -> str | None:
    """The program in `text`: a fenced block of Python, or all of it, or the lines that are Python.

    Of several blocks the first that defines the question's function counts (anything, where the
    question has none), or else the first; imports and definitions of those before it go with it.
    Where `question` holds a program that ends in an unfinished function, what goes on from it (a
    body) is put under it, and what defines that function anew gets the question's beginning, its
    imports and helpers, before it. None where the outcome is not Python.
    """
    stub = prompt_of(question)
    blocks = blocks_in(text)
    code = _chosen(blocks.python, _last_function(stub)) if blocks.python else text
    for program in _candidates(code.strip("\n"), stub):
        if program.strip() and _tree(program) is not None:
            return program
    cut = None if blocks.fenced else unfenced(text, _fault)
    return _candidates(cut, stub)[0] if cut is not None and _defined(cut) else None


def prompt_of(question: str) -> str:
    """The program in a question: its first fenced block, or all from the first line of code."""
    blocks = blocks_in(question).python
    found = blocks[0] if blocks else first_code(question)
    return found.rstrip() + "\n" if found else ""


def programs_alike(a: str, b: str) -> bool:
    """Whether they are the same but for comments, layout and docstrings."""
    left, right = _tree(a), _tree(b)
    if left is None or right is None:
        return a.strip() == b.strip()
    return ast.dump(_undocumented(left)) == ast.dump(_undocumented(right))


def _chosen(blocks: Sequence[str], name: str | None) -> str:
    """The block that is the program, after what those before it import and define."""
    for place, block in enumerate(blocks):
        code = textwrap.dedent(block)
        defined = _defined(code)
        if name in defined if name else defined:
            return "\n".join([*filter(_only_helps, map(textwrap.dedent, blocks[:place])), code])
    return blocks[0]


def _defined(code: str) -> set[str]:
    """Functions and classes that `code` defines at its top and that do something."""
    tree = _tree(code)
    if tree is None:
        return set()
    named = (n for n in tree.body if isinstance(n, _NAMED))
    return {node.name for node in named if not all(map(_is_idle, node.body))}


def _only_helps(code: str) -> bool:
    """Whether it imports and defines, and does nothing else."""
    tree = _tree(code)
    return tree is not None and all(
        isinstance(node, (ast.Import, ast.ImportFrom))
        or (isinstance(node, _NAMED) and not all(map(_is_idle, node.body)))
        for node in tree.body
    )


def _is_idle(node: ast.stmt) -> bool:
    """A `pass`, an ellipsis, a docstring."""
    return isinstance(node, ast.Pass) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )


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


def _fault(code: str) -> int | None:
    """The line at which `code` stops to be Python; None where it does not."""
    try:
        _parsed(code)
    except SyntaxError as error:
        return error.lineno or 1
    except (ValueError, RecursionError, MemoryError):
        return 1
    return None


def _tree(code: str) -> ast.Module | None:
    try:
        return _parsed(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _parsed(code: str) -> ast.Module:
    # What a model wrote may hold "\\d", which is worth a warning, to somebody else.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(code)


def _undocumented(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return tree
