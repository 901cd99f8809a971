"""Whether anybody works on a query: what keeps a waiting caller from waiting for ever."""

from __future__ import annotations

from datetime import UTC, datetime

from db.reads import AnswerState
from models.errors import NoConsumer
from tasks.inspection import count_consumers
from tasks.topology import ASK
from workers.bounded import Bounded

#: How much later than its deadline a query may end while a coordinator is at work (seconds).
OVERDUE = 30.0
#: How long the broker may take to say who listens, where the caller does not say (seconds).
WITHIN = 30.0


_broker = Bounded("the broker")


def check_somebody_listens(found: AnswerState, within: float = WITHIN) -> None:
    """Raise NoConsumer for a query that is unheard of or overdue while no coordinator listens.

    Raises TransientError when the broker does not say so within that time.
    """
    overdue = (
        found.deadline_at is not None
        and (datetime.now(UTC) - found.deadline_at).total_seconds() > OVERDUE
    )
    if found.status != "unknown" and not overdue:
        return
    if _broker.share(lambda: count_consumers(ASK), within) == 0:
        raise NoConsumer(
            f"queue {ASK} has no consumer, so nobody works on query {found.query_id}: start "
            "'colm coordinator' (or 'colm up'). The question is kept; its result can be waited "
            "for again"
        )
