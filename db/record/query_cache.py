"""What a process remembers of queries with many steps, so that it need not read them each time.

A thousand clients submit a thousand outcomes, and each of them opens the query. The head of a
query's chain changes with every row, so a state that was kept under the same head is the state
that the rows tell. Queries of an ordinary size are read.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from colm.models.strategies.base import QueryState

#: Fewer steps than this are read sooner than remembering them is worth.
WORTH_KEEPING = 64
#: Steps of all queries together that are kept, unless one query alone has more.
MOST_STEPS = 8_000


class QueryCache:
    """The latest states of large queries, by the head of their chain. Safe on many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: OrderedDict[str, tuple[str, QueryState]] = OrderedDict()

    def get(self, query_id: str, head: str | None) -> QueryState | None:
        """The query's state, if it was kept under this head."""
        with self._lock:
            known = self._states.get(query_id)
        return known[1] if known is not None and known[0] == head else None

    def put(self, query_id: str, head: str | None, state: QueryState, *, ended: bool) -> None:
        """Keep the state that was committed with `head`; nothing of a query that has ended."""
        with self._lock:
            self._states.pop(query_id, None)
            if head is not None and not ended and len(state.steps) >= WORTH_KEEPING:
                self._states[query_id] = (head, state)
            while len(self._states) > 1 and self._steps() > MOST_STEPS:
                self._states.popitem(last=False)

    def _steps(self) -> int:
        return sum(len(state.steps) for _, state in self._states.values())
