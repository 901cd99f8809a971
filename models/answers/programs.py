"""Extraction, completion and comparison of Python programs in models' texts. Pure."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator, Sequence, Set

from colm.models.answers.code_blocks import (
    Block,
    clean_code,
    fenced_blocks,
    find_unfenced_code,
    first_code,
    inline_spans,
)
from colm.models.answers.program_tests import free_names, names_under_test, parse_python

_NAMED = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_DOCUMENTED = (ast.Module, *_NAMED)
_HOLDERS = (ast.stmt, ast.ExceptHandler, ast.match_case)
_IMPORTS = (ast.Import, ast.ImportFrom)
_ASSERTION = re.compile(r"^[ \t]*assert\b.*$", re.M)


def complete(text: str, question: str = "", tests: str = "") -> str | None:
    """The program in `text`: a fenced block of Python, the whole text, or lines that parse.

    Of several blocks, the first that defines the most required names: those in `tests`, else the
    question's function, else those in the question's assertions. Without required names, the first
    that defines anything, or the first. Blocks that it depends on are put before it. If `question`
    ends in an unfinished function, a body is appended to it, and a new definition gets the
    question's imports and helpers. None if the result does not parse.
    """
    stub = question_program(question)
    name = _last_function(stub)
    required = _required_names(tests, question, stub, name)
    blocks = fenced_blocks(text)
    code = _select_block(blocks, required, name) if blocks else clean_code(text)
    for program in _candidates(code.strip("\n"), stub, name):
        if program.strip() and parse_python(program) is not None:
            return program
    cut = None if blocks else find_unfenced_code(text)
    if cut is None or not _defines_something(cut):
        cut = None if blocks else _span(text, required)
    return _candidates(cut, stub, name)[0] if cut is not None else None


def question_program(question: str) -> str:
    """The program in a question: its first fenced block, or the text from the first code line."""
    program = next((b.text for b in fenced_blocks(question) if b.python), None) or first_code(
        question
    )
    return program.rstrip() + "\n" if program else ""


def _required_names(tests: str, question: str, stub: str, name: str | None) -> Set[str]:
    """The names that a program must define, without the question's helpers."""
    used = names_under_test(tests)
    if not used and name is None:
        used = names_under_test("\n".join(map(str.strip, _ASSERTION.findall(question))))
    helpers = {
        node.name for node in _top_level(_code_before(stub, name)) if isinstance(node, _NAMED)
    }
    return (used - helpers) or ({name} if name else set())


def programs_equal(a: str, b: str) -> bool:
    """Equality except for comments, layout and docstrings."""
    left, right = parse_python(a), parse_python(b)
    if left is None or right is None:
        return a.strip() == b.strip()
    try:
        return ast.dump(_without_docstrings(left)) == ast.dump(_without_docstrings(right))
    except RecursionError:  # a tree that parses can be too deep to dump
        return a.strip() == b.strip()


def _select_block(blocks: Sequence[Block], required: Set[str], name: str | None) -> str:
    """The block with the program, and the blocks that it depends on."""
    codes = [clean_code(block.text) for block in blocks]
    scores = [len(required & _defined(code)) for code in codes]
    if not any(scores) and name is None:
        scores = [int(_defines_something(code)) for code in codes]
    if any(scores):
        return _with_dependencies(codes, scores.index(max(scores)), required)
    unnamed = (block.text for block in blocks if block.unnamed)
    return next((block.text for block in blocks if block.python), None) or next(unnamed, "")


def _with_dependencies(codes: Sequence[str], place: int, required: Set[str]) -> str:
    """A block after the earlier blocks of definitions, and the definitions it needs of others."""
    helping = {n: code for n, code in enumerate(codes[:place]) if _only_helps(code)}
    others = {
        n: _definitions_in(code) for n, code in enumerate(codes) if n not in (place, *helping)
    }
    while True:
        joined = "\n".join([*(helping[n] for n in sorted(helping)), codes[place]])
        missing = free_names(joined) | (required - _defined(joined))
        needed = [n for n, code in others.items() if missing & _defined(code)]
        if not needed:
            return joined
        helping |= {n: others.pop(n) for n in needed}


def _defined(code: str) -> set[str]:
    """The top-level names that `code` binds, without stubs."""
    return {name for node in _top_level(code) if not _is_stub(node) for name in _bound(node)}


def _defines_something(code: str) -> bool:
    """Whether it has a class, or a function that is no stub."""
    return any(isinstance(node, _NAMED) and not _is_stub(node) for node in _top_level(code))


def _top_level(code: str) -> Iterator[ast.stmt]:
    """The statements that run with the module, also nested ones."""
    tree = parse_python(code)
    waiting: list[ast.AST] = [tree] if tree else []
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.stmt):
            yield node
        if not isinstance(node, _NAMED):
            waiting += [n for n in ast.iter_child_nodes(node) if isinstance(n, _HOLDERS)]


def _bound(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, _NAMED):
        yield node.name
    elif isinstance(node, _IMPORTS):
        yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, (ast.Assign, ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            names = (n for n in ast.walk(target) if isinstance(n, ast.Name))
            yield from (name.id for name in names if isinstance(name.ctx, ast.Store))


def _only_helps(code: str) -> bool:
    """Whether it only has imports and definitions."""
    tree = parse_python(code)
    return tree is not None and all(
        isinstance(node, _IMPORTS) or (isinstance(node, _NAMED) and not _is_stub(node))
        for node in tree.body
    )


def _definitions_in(code: str) -> str:
    """The imports and definitions of `code`, also constants."""
    tree = parse_python(code)
    statements: list[ast.stmt] = [
        node
        for node in (tree.body if tree else ())
        if isinstance(node, (*_IMPORTS, ast.Assign, ast.AnnAssign))
        or (isinstance(node, _NAMED) and not _is_stub(node))
    ]
    try:
        return ast.unparse(ast.Module(body=statements, type_ignores=[]))
    except RecursionError:
        return ""


def _is_stub(node: ast.stmt) -> bool:
    """Whether it is an unfinished function; an empty class may be complete."""
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and all(
        map(_is_idle, node.body)
    )


def _is_idle(node: ast.stmt) -> bool:
    return isinstance(node, ast.Pass) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )


def _span(text: str, required: Set[str]) -> str | None:
    return next((code for code in inline_spans(text) if required & _defined(code)), None)


def _candidates(code: str, stub: str, name: str | None) -> list[str]:
    """Possible programs, the likeliest first."""
    dedented = textwrap.dedent(code) + "\n"
    if name is None:
        return [_hoist_future_imports(dedented)]
    if _is_definition(dedented, name):
        return [
            _hoist_future_imports(_code_before(stub, name) + dedented),
            _hoist_future_imports(dedented),
        ]
    body = textwrap.indent(dedented, "    ")
    # Models often omit the indent of the first line.
    ragged = "    " + code.lstrip() + "\n"
    return [stub + body, stub + ragged, stub + code + "\n"]


def _is_definition(code: str, name: str) -> bool:
    """Whether it defines `name` and is not its body, which may bind the name too, but returns."""
    if parse_python(code) is None:
        return re.search(rf"^(?:async )?def {name}\b", code, re.M) is not None
    top = list(_top_level(code))
    returns = any(
        isinstance(part, (ast.Return, ast.Yield)) for node in top for part in _own_nodes(node)
    )
    return not returns and any(name in _bound(node) for node in top)


def _own_nodes(node: ast.stmt) -> Iterator[ast.AST]:
    """A statement and its expressions, without nested functions and classes."""
    waiting: list[ast.AST] = [node]
    while waiting:
        part = waiting.pop()
        yield part
        if not isinstance(part, (*_NAMED, ast.Lambda)):
            waiting += ast.iter_child_nodes(part)


def _hoist_future_imports(program: str) -> str:
    """The program with its `__future__` imports moved to the beginning."""
    tree = parse_python(program)
    imports = [n for n in tree.body if _is_future(n)] if tree else []
    if not imports:
        return program
    lines = program.splitlines(keepends=True)
    for node in imports:
        for number in range(node.lineno - 1, node.end_lineno or node.lineno):
            lines[number] = "\n"
    moved = dict.fromkeys(map(ast.unparse, imports))
    rest = "".join(lines)
    return "\n".join([*moved, rest]) if parse_python(rest) is not None else program


def _is_future(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"


def _last_function(stub: str) -> str | None:
    names = re.findall(r"^(?:async )?def (\w+)", stub, re.M)
    return names[-1] if names else None


def _code_before(stub: str, name: str | None) -> str:
    """The imports and helpers before the last function."""
    starts = list(re.finditer(rf"^(?:@.*\n)*(?:async )?def {name}\b", stub, re.M)) if name else []
    before = stub[: starts[-1].start()] if starts else ""
    return before if before.strip() and parse_python(before) is not None else ""


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return tree
