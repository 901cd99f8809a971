"""Where a query stands, between two moments at which a coordinator holds its lock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

#: The seq of every query's own row.
FIRST_SEQ = 1


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a query stands: its row in `progress`."""

    #: No answer is recorded yet.
    open: bool
    #: When to ask the strategy again, whatever has come by then.
    wake_at: datetime
    #: The `seq` of the next row that is recorded of the query.
    next_seq: int
    #: The hash of the latest row; None where it was recorded before rows had one.
    head: str | None = None
    #: A seal covers every row.
    sealed: bool = False
