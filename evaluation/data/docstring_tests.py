"""Tests from the docstring of a function to complete: code may run on them before it is graded.

Pure. An example counts only if it states beyond doubt a call and its value: a misread test would
refuse correct code. Hidden tests are never read.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Sequence
from itertools import takewhile

_PROMPT, _MORE = ">>>", "..."
#: Separators of a call and its value, longest first.
_SIGNS = re.compile(r"==>|=>|==|➞|→|->|=")
#: Builtins that an example may call. Not print: it returns nothing.
_BUILTINS = frozenset(
    {"abs", "all", "any", "bool", "dict", "float", "int", "len", "list", "max", "min"}
    | {"range", "repr", "round", "set", "sorted", "str", "sum", "tuple"}
)


def docstring_tests(prompt: str, name: str) -> str:
    """Python assertions from the docstring examples of the function `name`; "" if none."""
    lines = [line.strip() for line in _docstring(prompt, name).splitlines()]
    tests = (_test(line, lines[place + 1 :], name) for place, line in enumerate(lines))
    return "\n".join(dict.fromkeys(test for test in tests if test is not None))


def without_docstring(prompt: str, name: str) -> tuple[str, str]:
    """`prompt` before the docstring of the function `name`, and the docstring.

    All of `prompt` and "" unless the docstring has lines of its own and nothing follows it.
    """
    lines, function = prompt.splitlines(), _function(prompt, name)
    docstring = ast.get_docstring(function) if function else None
    if function is None or not docstring:
        return prompt.rstrip(), ""
    first, after = function.body[0].lineno - 1, function.body[0].end_lineno
    if first == function.lineno - 1 or any(line.strip() for line in lines[after:]):
        return prompt.rstrip(), ""
    return "\n".join(lines[:first]).rstrip(), docstring


def _function(prompt: str, name: str) -> ast.FunctionDef | None:
    tree = _parsed(prompt, "exec")
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node
    return None


def _docstring(prompt: str, name: str) -> str:
    function = _function(prompt, name)
    return (ast.get_docstring(function) if function else None) or ""


def _test(line: str, after: Sequence[str], name: str) -> str | None:
    if not line.startswith(_PROMPT):
        return _claim(line.lstrip("*- "), name)
    more = list(takewhile(lambda following: following.startswith(_MORE), after))
    source = "\n".join(part.removeprefix(_MORE) for part in [line.removeprefix(_PROMPT), *more])
    printed_lines = takewhile(
        lambda following: following and not following.startswith(_PROMPT), after[len(more) :]
    )
    if value := "\n".join(printed_lines):
        return _printed(source.strip(), value, name)
    return _claim(source.strip(), name)


def _printed(source: str, printed: str, name: str) -> str | None:
    """A test from `>>> f(1)` and the literal that the interpreter prints."""
    expression, value = _expression(source), _value(printed)
    if expression is None or value is None:
        return None
    named = {node.id for node in ast.walk(expression) if isinstance(node, ast.Name)}
    if name not in named or not named <= {name} | _BUILTINS:
        return None
    return f"assert ({ast.unparse(expression)}) == {value}"


def _claim(line: str, name: str) -> str | None:
    """A test from a line such as `f(1) == 2` or `f(1) => 2`, with nothing else on it."""
    for sign in _SIGNS.finditer(line):
        left = line[: sign.start()]
        called, value = _expression(left), _value(line[sign.end() :].strip())
        if called is None or value is None or not _calls(called, name):
            continue
        between = left.encode()[called.end_col_offset :].decode().strip()
        if between in ("", "#"):
            return f"assert {ast.unparse(called)} == {value}"
    return None


def _calls(node: ast.expr, name: str) -> bool:
    """Whether `node` calls the function `name` with literals only."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == name
        and all(_is_literal(arg) for arg in [*node.args, *(k.value for k in node.keywords)])
    )


def _value(text: str) -> str | None:
    """The literal in Python's form; None for one in brackets, which may be meant as a tuple."""
    node = _expression(text)
    if node is None or not _is_literal(node):
        return None
    bracketed = text.startswith("(") and not isinstance(node, ast.Tuple)
    return None if bracketed else ast.unparse(node)


def _is_literal(node: ast.expr) -> bool:
    if any(isinstance(child, ast.Constant) and child.value is ... for child in ast.walk(node)):
        return False
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def _expression(text: str) -> ast.expr | None:
    tree = _parsed(text.strip(), "eval")
    return tree.body if isinstance(tree, ast.Expression) else None


def _parsed(text: str, mode: str) -> ast.AST | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of invalid escapes
            tree: ast.AST = compile(text, "<example>", mode, ast.PyCF_ONLY_AST)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return tree
