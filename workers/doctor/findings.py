"""What `colm doctor` and a starting coordinator have in common: findings, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Grade = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing looked at, and what to do when it is not well."""

    about: str
    grade: Grade
    detail: str
    do: str = ""


#: What a check yields; one that cannot be made is a finding too.
Findings = Iterator[Finding]


def ok(about: str, detail: str) -> Finding:
    return Finding(about=about, grade="ok", detail=detail)


def warning(about: str, detail: str, do: str) -> Finding:
    return Finding(about=about, grade="warning", detail=detail, do=do)


def problem(about: str, detail: str, do: str) -> Finding:
    return Finding(about=about, grade="problem", detail=detail, do=do)
