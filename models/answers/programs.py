"""Python programs in what models write: found, completed and compared, never run. Pure."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator, Sequence, Set

from colm.models.answers.code_blocks import (
    Block,
    blocks_in,
    cleaned,
    first_code,
    spans_in,
    unfenced,
)
from colm.models.answers.program_tests import free_names, names_tested, parsed

_NAMED = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_DOCUMENTED = (ast.Module, *_NAMED)
_HOLDERS = (ast.stmt, ast.ExceptHandler, ast.match_case)
_IMPORTS = (ast.Import, ast.ImportFrom)
_ASSERTION = re.compile(r"^[ \t]*assert\b.*$", re.M)


def complete(text: str, question: str = "", tests: str = "") -> str | None:
    """The program in `text`: a fenced block of Python, or all of it, or the lines that are Python.

    Of several blocks the first counts that defines the most of what is asked for: of what `tests`
    use; or else the question's function, or what assertions in the question use. Where nothing is
    asked for by name it is the first that defines anything, or else the first. Imports and
    definitions of those before it go with it, and what it uses of others.
    Where `question` holds a program that ends in an unfinished function, what goes on from it (a
    body) is put under it, and what defines that function anew gets the question's beginning, its
    imports and helpers, before it. None where the outcome is not Python.
    """
    stub = prompt_of(question)
    name = _last_function(stub)
    wanted = _asked_for(tests, question, stub, name)
    blocks = blocks_in(text)
    code = _chosen(blocks, wanted, name) if blocks else cleaned(text)
    for program in _candidates(code.strip("\n"), stub, name):
        if program.strip() and parsed(program) is not None:
            return program
    cut = None if blocks else unfenced(text)
    if cut is None or not _makes_something(cut):
        cut = None if blocks else _span(text, wanted)
    return _candidates(cut, stub, name)[0] if cut is not None else None


def prompt_of(question: str) -> str:
    """The program in a question: its first fenced block, or all from the first line of code."""
    found = next((b.text for b in blocks_in(question) if b.python), None) or first_code(question)
    return found.rstrip() + "\n" if found else ""


def _asked_for(tests: str, question: str, stub: str, name: str | None) -> Set[str]:
    """The names that a program has to define, beside those that the question's beginning does."""
    used = names_tested(tests)
    if not used and name is None:
        used = names_tested("\n".join(map(str.strip, _ASSERTION.findall(question))))
    helpers = {node.name for node in _top(_before(stub, name)) if isinstance(node, _NAMED)}
    return (used - helpers) or ({name} if name else set())


def programs_alike(a: str, b: str) -> bool:
    """Whether they are the same but for comments, layout and docstrings."""
    left, right = parsed(a), parsed(b)
    if left is None or right is None:
        return a.strip() == b.strip()
    try:
        return ast.dump(_undocumented(left)) == ast.dump(_undocumented(right))
    except RecursionError:  # what can be read can be too deep to be written
        return a.strip() == b.strip()


def _chosen(blocks: Sequence[Block], wanted: Set[str], name: str | None) -> str:
    """The block that is the program, after what others import and define for it."""
    codes = [cleaned(block.text) for block in blocks]
    scores = [len(wanted & _defined(code)) for code in codes]
    if not any(scores) and name is None:
        scores = [int(_makes_something(code)) for code in codes]
    if any(scores):
        return _with_others(codes, scores.index(max(scores)), wanted)
    unnamed = (block.text for block in blocks if block.unnamed)
    return next((block.text for block in blocks if block.python), None) or next(unnamed, "")


def _with_others(codes: Sequence[str], place: int, wanted: Set[str]) -> str:
    """A block after those before it that only help, and after what it and the tests need of any
    other."""
    helping = {n: code for n, code in enumerate(codes[:place]) if _only_helps(code)}
    others = {n: _help_in(code) for n, code in enumerate(codes) if n not in (place, *helping)}
    while True:
        joined = "\n".join([*(helping[n] for n in sorted(helping)), codes[place]])
        missing = free_names(joined) | (wanted - _defined(joined))
        found = [n for n, code in others.items() if missing & _defined(code)]
        if not found:
            return joined
        helping |= {n: others.pop(n) for n in found}


def _defined(code: str) -> set[str]:
    """What `code` defines at its top and that does something: functions, classes, and names of what
    it makes in any other way."""
    return {name for node in _top(code) if not _is_stub(node) for name in _bound(node)}


def _makes_something(code: str) -> bool:
    """Whether it has a function or a class that is written out."""
    return any(isinstance(node, _NAMED) and not _is_stub(node) for node in _top(code))


def _top(code: str) -> Iterator[ast.stmt]:
    """The statements that run where the module does, those within others too."""
    tree = parsed(code)
    waiting: list[ast.AST] = [tree] if tree else []
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.stmt):
            yield node
        if not isinstance(node, _NAMED):
            waiting += [n for n in ast.iter_child_nodes(node) if isinstance(n, _HOLDERS)]


def _bound(node: ast.stmt) -> Iterator[str]:
    """The names that one statement binds."""
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
    """Whether it imports and defines, and does nothing else."""
    tree = parsed(code)
    return tree is not None and all(
        isinstance(node, _IMPORTS) or (isinstance(node, _NAMED) and not _is_stub(node))
        for node in tree.body
    )


def _help_in(code: str) -> str:
    """What of it imports and defines, constants too."""
    tree = parsed(code)
    kept: list[ast.stmt] = [
        node
        for node in (tree.body if tree else ())
        if isinstance(node, (*_IMPORTS, ast.Assign, ast.AnnAssign))
        or (isinstance(node, _NAMED) and not _is_stub(node))
    ]
    try:
        return ast.unparse(ast.Module(body=kept, type_ignores=[]))
    except RecursionError:
        return ""


def _is_stub(node: ast.stmt) -> bool:
    """A function that is still to be written. An empty class may be all that it should be."""
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and all(
        map(_is_idle, node.body)
    )


def _is_idle(node: ast.stmt) -> bool:
    """A `pass`, an ellipsis, a docstring."""
    return isinstance(node, ast.Pass) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )


def _span(text: str, wanted: Set[str]) -> str | None:
    """Code within a line of `text` that defines what is wanted."""
    return next((code for code in spans_in(text) if wanted & _defined(code)), None)


def _candidates(code: str, stub: str, name: str | None) -> list[str]:
    """What the program could be, the likeliest first."""
    dedented = textwrap.dedent(code) + "\n"
    if name is None:
        return [_hoisted(dedented)]
    if _is_definition(dedented, name):
        return [_hoisted(_before(stub, name) + dedented), _hoisted(dedented)]
    body = textwrap.indent(dedented, "    ")
    # A body whose first line lost its indent, as models' often do.
    ragged = "    " + code.lstrip() + "\n"
    return [stub + body, stub + ragged, stub + code + "\n"]


def _is_definition(code: str, name: str) -> bool:
    """Whether it defines `name`, and is no body of it: that may have a variable of this name, and
    returns."""
    if parsed(code) is None:
        return re.search(rf"^(?:async )?def {name}\b", code, re.M) is not None
    top = list(_top(code))
    returns = any(isinstance(part, (ast.Return, ast.Yield)) for node in top for part in _own(node))
    return not returns and any(name in _bound(node) for node in top)


def _own(node: ast.stmt) -> Iterator[ast.AST]:
    """A statement and its expressions, without functions and classes in it."""
    waiting: list[ast.AST] = [node]
    while waiting:
        part = waiting.pop()
        yield part
        if not isinstance(part, (*_NAMED, ast.Lambda)):
            waiting += ast.iter_child_nodes(part)


def _hoisted(program: str) -> str:
    """The program with what it imports from `__future__` at its very beginning, where it has to
    be."""
    tree = parsed(program)
    found = [n for n in tree.body if _is_future(n)] if tree else []
    if not found:
        return program
    lines = program.splitlines(keepends=True)
    for node in found:
        for number in range(node.lineno - 1, node.end_lineno or node.lineno):
            lines[number] = "\n"
    moved = dict.fromkeys(map(ast.unparse, found))
    rest = "".join(lines)
    return "\n".join([*moved, rest]) if parsed(rest) is not None else program


def _is_future(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"


def _last_function(stub: str) -> str | None:
    names = re.findall(r"^(?:async )?def (\w+)", stub, re.M)
    return names[-1] if names else None


def _before(stub: str, name: str | None) -> str:
    """What stands before the last function: imports and helpers."""
    starts = list(re.finditer(rf"^(?:@.*\n)*(?:async )?def {name}\b", stub, re.M)) if name else []
    before = stub[: starts[-1].start()] if starts else ""
    return before if before.strip() and parsed(before) is not None else ""


def _undocumented(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return tree
