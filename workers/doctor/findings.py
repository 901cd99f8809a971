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
    found: str
    do: str = ""


#: What a check yields; one that cannot be made is a finding too.
Findings = Iterator[Finding]


def ok(about: str, found: str) -> Finding:
    return Finding(about=about, grade="ok", found=found)


def warning(about: str, found: str, do: str) -> Finding:
    return Finding(about=about, grade="warning", found=found, do=do)


def problem(about: str, found: str, do: str) -> Finding:
    return Finding(about=about, grade="problem", found=found, do=do)
