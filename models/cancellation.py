"""Messages that end work before its time: to the coordinators, and from them to participants."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from colm.models.messages import MAX_REASON_CHARS, ForeignText, Message, QueryId


class Cancel(Message):
    """A caller or an operator wants no answer to a query any more."""

    query_id: QueryId
    reason: ForeignText = Field(default="", max_length=MAX_REASON_CHARS // 2)
    #: Who says so, as they call themselves; the broker decides who may say it.
    by: ForeignText = Field(default="", max_length=200)

    @property
    def told(self) -> str:
        """The reason, as it is recorded and told to the caller."""
        by = f" by {self.by}" if self.by else ""
        return f"cancelled{by}" + (f": {self.reason}" if self.reason else "")


class CancelSteps(Message):
    """Nobody waits for these steps of a query any more: do not generate them."""

    query_id: QueryId
    #: Empty is every step of the query.
    step_ids: tuple[Annotated[str, Field(max_length=200)], ...] = Field(
        default=(), max_length=10_000
    )

    def covers(self, step_id: str) -> bool:
        if self.step_ids:
            return step_id in self.step_ids
        return step_id.startswith(f"{self.query_id}.")
