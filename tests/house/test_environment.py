"""Nothing out of the environment decides how another machine is reached."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.house.repository import FLOORS, name, python_files

#: What opens connections in httpx.
OPENERS = {
    "Client", "AsyncClient", "request", "stream", "get", "head", "options", "post", "put", "patch",
    "delete",
}  # fmt: skip


def _opened(path: Path) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            module = node.func.value
            if isinstance(module, ast.Name) and module.id == "httpx" and node.func.attr in OPENERS:
                yield node


def _heeds_environment(call: ast.Call) -> bool:
    """Whether it takes a proxy, a login or an authority from variables and files of the user."""
    told = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    # `**access_to(...)` holds it; a test of endpoints sees that it is heeded.
    return told.get("trust_env") != "False" and "access" not in told.get(None, "")


def test_no_http_client_heeds_the_environment() -> None:
    calls = [(p, call) for p in python_files(*FLOORS, "benchmarks") for call in _opened(p)]
    assert len(calls) >= 4
    heeding = [f"{name(path)}:{call.lineno}" for path, call in calls if _heeds_environment(call)]
    assert heeding == []
