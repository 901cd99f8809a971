"""Static analysis of tests: the names they use, and whether any program can fail them. Pure.

Tests run after the program in its module, `program`. Every program passes tests that use none of
its names or assert nothing.
"""

from __future__ import annotations

import ast
import builtins
import symtable
import warnings
from collections.abc import Iterator, Set
from typing import Final

_BUILTINS: Final = frozenset(dir(builtins)) | {"__name__", "__file__", "__doc__"}
#: Dynamic access to names, beyond static analysis.
_HIDDEN: Final = frozenset({"eval", "exec", "globals", "locals", "vars", "__import__"})
#: Parts of the names of asserting functions that the tests do not define.
_ASSERTING: Final = ("assert", "fail", "expect", "raises", "exit")
_DEFINES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
#: Module name of the program.
_PROGRAM: Final = "program"


def names_under_test(tests: str) -> frozenset[str]:
    """The names that the tests expect from the program; empty for a syntax error."""
    tree = parse_python(tests)
    if tree is None:
        return frozenset()
    return (free_names(tests) | _imported(tree)) & _used(tree)


def free_names(source: str) -> frozenset[str]:
    """The names that code uses and does not define; empty for a syntax error."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            top = symtable.symtable(source, "<code>", "exec")
        used = frozenset(_referenced(top))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return frozenset()
    bound = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}
    return used - bound - _BUILTINS


def _referenced(table: symtable.SymbolTable) -> Iterator[str]:
    """Module-level names that a scope and its inner scopes refer to."""
    for symbol in table.get_symbols():
        of_module = table.get_type() == "module" or symbol.is_global()
        if symbol.is_referenced() and of_module:
            yield symbol.get_name()
    for inner in table.get_children():
        yield from _referenced(inner)


def fault_of(tests: str) -> str | None:
    """The reason why every program would pass or fail these tests; None if there is none."""
    if not tests.strip():
        return "it has no tests"
    tree = parse_python(tests)
    if tree is None:
        return "its tests are no Python"
    running = list(_running(tree))
    own = {node.name for node in ast.walk(tree) if isinstance(node, _DEFINES)} | free_names(tests)
    if not any(_can_fail(node, own) for node in running):
        return "its tests assert nothing, or nothing calls them"
    if not any(map(_reaches_program_indirectly, running)) and not names_under_test(tests):
        return "its tests use nothing that the program defines"
    return None


def _reaches_program_indirectly(node: ast.AST) -> bool:
    """Whether the node accesses the program in a way beyond this analysis."""
    if isinstance(node, ast.Import):
        return any(alias.name == _PROGRAM for alias in node.names)
    return isinstance(node, ast.Name) and node.id in _HIDDEN


def fault_of_function(test: str, name: str) -> str | None:
    """The fault of a test function `name` that gets the tested function as its argument."""
    tree = parse_python(test)
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.FunctionDef) and node.name == name:
            arguments = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
            used = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
            if arguments and arguments[0] not in used and not free_names(test):
                return f"its {name} does not use what it is to test"
            return None
    return f"its tests define no function {name}" if tree else "its tests are no Python"


def stub_program(tests: str) -> str:
    """A program that defines all tested names as functions without effect."""
    names = sorted(names_under_test(tests)) or ["nothing"]
    return "".join(f"def {name}(*_, **__):\n    pass\n\n\n" for name in names)


def parse_python(source: str) -> ast.Module | None:
    """The AST; None for a syntax error."""
    try:
        with warnings.catch_warnings():  # invalid escapes such as "\\d"
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _imported(tree: ast.Module) -> frozenset[str]:
    return frozenset(
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == _PROGRAM
        for alias in node.names
    )


def _used(tree: ast.Module) -> frozenset[str]:
    names = (node.id for node in _running(tree) if isinstance(node, ast.Name))
    return frozenset(names)


def _running(tree: ast.Module) -> Iterator[ast.AST]:
    """The nodes that run: those of the module, and of functions and classes that it refers to."""
    defined = {node.name: node for node in ast.walk(tree) if isinstance(node, _DEFINES)}
    entered: set[str] = set()
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.Name) and node.id in defined and node.id not in entered:
            entered.add(node.id)
            waiting += _body(defined[node.id])
        waiting += _parts(node)


def _parts(node: ast.AST) -> list[ast.AST]:
    """The child nodes that run with a node."""
    if isinstance(node, ast.If) and _is_main(node.test):
        return list(node.orelse)
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return [*node.decorator_list, *node.args.defaults]
    return list(ast.iter_child_nodes(node))


def _body(node: ast.AST) -> list[ast.AST]:
    """The body of a function, or of a class with all its methods."""
    body = list(ast.iter_child_nodes(node))
    methods = [m for m in body if isinstance(m, _DEFINES)] if isinstance(node, ast.ClassDef) else []
    return [*body, *(part for method in methods for part in _body(method))]


def _is_main(test: ast.expr) -> bool:
    """Whether it tests `__name__ == "__main__"`, which is false in the sandbox."""
    parts = ast.walk(test) if isinstance(test, ast.Compare) else ()
    return any(isinstance(part, ast.Constant) and part.value == "__main__" for part in parts)


def _can_fail(node: ast.AST, own: Set[str]) -> bool:
    """Whether it can fail: an assertion on more than constants, or a call that seems to assert."""
    if isinstance(node, ast.Assert):
        return not _is_constant(node.test)
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if isinstance(node.func, ast.Name) and node.func.id not in own:
            name = node.func.id
        return any(word in name.lower() for word in _ASSERTING)
    return isinstance(node, ast.Raise)


def _is_constant(test: ast.expr) -> bool:
    """Whether its value is independent of the program: a non-empty tuple is always true."""
    if isinstance(test, (ast.Tuple, ast.List, ast.Dict, ast.Set)):
        return True
    return not any(isinstance(node, (ast.Name, ast.Call)) for node in ast.walk(test))
