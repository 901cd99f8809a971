"""Findings of `colm doctor` and of a starting coordinator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Grade = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of one check, and what to do about it."""

    about: str
    grade: Grade
    detail: str
    do: str = ""


Findings = Iterator[Finding]


def ok(about: str, detail: str) -> Finding:
    return Finding(about=about, grade="ok", detail=detail)


def warning(about: str, detail: str, do: str) -> Finding:
    return Finding(about=about, grade="warning", detail=detail, do=do)


def problem(about: str, detail: str, do: str) -> Finding:
    return Finding(about=about, grade="problem", detail=detail, do=do)
