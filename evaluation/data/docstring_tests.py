"""What the docstring of a function that is to be completed says: its words, and its examples as
tests, which are what code may be tried on ungraded.

Pure. Tests come from the docstring alone, never from hidden tests. An example counts only where it
says beyond doubt what is called and what comes of it: all else is left out, for a test that is
misread would refuse right code.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Sequence
from itertools import takewhile

_PROMPT, _MORE = ">>>", "..."
#: What stands between a call and its value, the longest first.
_SIGNS = re.compile(r"==>|=>|==|➞|→|->|=")
#: What an example may call beside the function itself. Not print, which shows and gives nothing.
_BUILTINS = frozenset(
    {"abs", "all", "any", "bool", "dict", "float", "int", "len", "list", "max", "min"}
    | {"range", "repr", "round", "set", "sorted", "str", "sum", "tuple"}
)


def docstring_tests(prompt: str, name: str) -> str:
    """Assertions for the examples in the docstring of the function `name`; empty without any."""
    lines = [line.strip() for line in _docstring(prompt, name).splitlines()]
    found = (_test(line, lines[place + 1 :], name) for place, line in enumerate(lines))
    return "\n".join(dict.fromkeys(test for test in found if test is not None))


def without_docstring(prompt: str, name: str) -> tuple[str, str]:
    """`prompt` as far as the docstring of the function `name`, and what the docstring says.

    All of `prompt`, and nothing, where the function does not begin with one on lines of its own, or
    where something follows it.
    """
    lines, found = prompt.splitlines(), _function(prompt, name)
    told = ast.get_docstring(found) if found else None
    if found is None or not told:
        return prompt.rstrip(), ""
    first, after = found.body[0].lineno - 1, found.body[0].end_lineno
    if first == found.lineno - 1 or any(line.strip() for line in lines[after:]):
        return prompt.rstrip(), ""
    return "\n".join(lines[:first]).rstrip(), told


def _function(prompt: str, name: str) -> ast.FunctionDef | None:
    tree = _parsed(prompt, "exec")
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node
    return None


def _docstring(prompt: str, name: str) -> str:
    found = _function(prompt, name)
    return (ast.get_docstring(found) if found else None) or ""


def _test(line: str, after: Sequence[str], name: str) -> str | None:
    if not line.startswith(_PROMPT):
        return _claim(line.lstrip("*- "), name)
    more = list(takewhile(lambda one: one.startswith(_MORE), after))
    source = "\n".join(one.removeprefix(_MORE) for one in [line.removeprefix(_PROMPT), *more])
    shown = takewhile(lambda one: one and not one.startswith(_PROMPT), after[len(more) :])
    if value := "\n".join(shown):
        return _printed(source.strip(), value, name)
    return _claim(source.strip(), name)


def _printed(source: str, shown: str, name: str) -> str | None:
    """`>>> f(1)`, and what an interpreter shows for it: a value that can be read back."""
    asked, value = _expression(source), _value(shown)
    if asked is None or value is None:
        return None
    named = {node.id for node in ast.walk(asked) if isinstance(node, ast.Name)}
    if name not in named or not named <= {name} | _BUILTINS:
        return None
    return f"assert ({ast.unparse(asked)}) == {value}"


def _claim(line: str, name: str) -> str | None:
    """`f(1) == 2`, `f(1) => 2` and the like: nothing before the call, nothing after the value."""
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
    """Whether it calls the function `name`, with nothing but literals."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == name
        and all(_is_literal(one) for one in [*node.args, *(k.value for k in node.keywords)])
    )


def _value(text: str) -> str | None:
    """A literal as Python writes it. Not one in brackets that may have been meant for a tuple."""
    node = _expression(text)
    if node is None or not _is_literal(node):
        return None
    bracketed = text.startswith("(") and not isinstance(node, ast.Tuple)
    return None if bracketed else ast.unparse(node)


def _is_literal(node: ast.expr) -> bool:
    if any(isinstance(one, ast.Constant) and one.value is ... for one in ast.walk(node)):
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
            warnings.simplefilter("ignore")  # of escapes that Python does not know
            tree: ast.AST = compile(text, "<example>", mode, ast.PyCF_ONLY_AST)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return tree
