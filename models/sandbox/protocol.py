"""Request and report of a code check: the JSON texts of a `check` step and its completion. Pure."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from colm.models.messages import ForeignText, Message, decode
from colm.models.sandbox.runner import MAX_PROGRAM


class CheckRequest(Message):
    """The last turn of a `check` step, as JSON: run `code`, then `tests` in the same module."""

    code: str = Field(max_length=MAX_PROGRAM)
    tests: str = Field(default="", max_length=MAX_PROGRAM)


class CheckReport(Message):
    """The text of a `check` step's completion, as JSON."""

    passed: bool
    status: Literal["passed", "failed", "timeout", "error"]
    reason: ForeignText
    seconds: float = Field(ge=0)
    #: Active protections.
    kept: tuple[str, ...] = ()


def read_request(text: str) -> CheckRequest:
    """Raises BadMessage."""
    return decode(CheckRequest, text, what="the code check")


def read_report(text: str) -> CheckReport:
    """Raises BadMessage."""
    return decode(CheckReport, text, what="the report of the code check")
