"""Cache of the state of queries with many steps.

Each outcome opens its query; with a thousand clients it would be read a thousand times. The head of
a query's chain changes with every row: an equal head means an equal state. Small queries are read.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from colm.models.strategies.base import QueryState

#: Queries with fewer steps are not cached.
MIN_STEPS = 64
#: Cached steps of all queries together, unless one query alone has more.
MAX_STEPS = 8_000


class QueryCache:
    """LRU cache of large queries' states, by the head of their chain. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: OrderedDict[str, tuple[str, QueryState]] = OrderedDict()

    def get(self, query_id: str, head: str | None) -> QueryState | None:
        """The cached state, if its head is `head`."""
        with self._lock:
            cached = self._states.get(query_id)
        return cached[1] if cached is not None and cached[0] == head else None

    def put(self, query_id: str, head: str | None, state: QueryState, *, ended: bool) -> None:
        """Cache the state committed with `head`; drop the query if it has `ended`."""
        with self._lock:
            self._states.pop(query_id, None)
            if head is not None and not ended and len(state.steps) >= MIN_STEPS:
                self._states[query_id] = (head, state)
            while len(self._states) > 1 and self._steps() > MAX_STEPS:
                self._states.popitem(last=False)

    def _steps(self) -> int:
        return sum(len(state.steps) for _, state in self._states.values())
