"""The tree of errors that is written down is the tree that is raised."""

from __future__ import annotations

import inspect

from colm.models import errors


def _written() -> dict[str, str]:
    """Each error of the module's docstring, with the one it is indented under."""
    assert errors.__doc__ is not None
    parents: dict[str, str] = {}
    branch: list[tuple[int, str]] = []
    for line in errors.__doc__.splitlines()[1:]:
        if not line.strip():
            continue
        indent, error = len(line) - len(line.lstrip()), line.split()[0]
        while branch and branch[-1][0] >= indent:
            branch.pop()
        parents[error] = branch[-1][1] if branch else "Exception"
        branch.append((indent, error))
    return parents


def _defined() -> dict[str, str]:
    return {
        error: kind.__bases__[0].__name__
        for error, kind in vars(errors).items()
        if inspect.isclass(kind) and kind.__module__ == errors.__name__
    }


def test_the_docstring_shows_the_errors_as_they_are() -> None:
    assert _written() == _defined()


def test_every_error_says_what_happened() -> None:
    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind)]
    assert [kind.__name__ for kind in kinds if not (kind.__doc__ or "").endswith(".")] == []
