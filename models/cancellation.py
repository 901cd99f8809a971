"""Cancellation messages: to the coordinators, and from them to participants."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from colm.models.messages import MAX_REASON_CHARS, ForeignText, Message, QueryId


class Cancel(Message):
    query_id: QueryId
    reason: ForeignText = Field(default="", max_length=MAX_REASON_CHARS // 2)
    #: Sender's own name, not authenticated; the broker's permissions decide who may publish it.
    by: ForeignText = Field(default="", max_length=200)

    @property
    def failure(self) -> str:
        """The reason for the record and the caller."""
        by = f" by {self.by}" if self.by else ""
        return f"cancelled{by}" + (f": {self.reason}" if self.reason else "")


class CancelSteps(Message):
    """Cancels steps of a query at a participant."""

    query_id: QueryId
    #: Empty: every step of the query.
    step_ids: tuple[Annotated[str, Field(max_length=200)], ...] = Field(
        default=(), max_length=10_000
    )

    def covers(self, step_id: str) -> bool:
        if self.step_ids:
            return step_id in self.step_ids
        return step_id.startswith(f"{self.query_id}.")
