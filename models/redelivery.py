"""What becomes of a step that may have killed its worker. Pure: decides on what is recorded.

The broker counts deliveries of a message, not of a step, and it counts them for everything that a
dying worker held: the innocent are given up with the one that did it. Here each step is counted
under its own key. One that keeps coming back is run alone, where its neighbours cannot be to blame
and cannot be harmed, and only one that was alone when its worker died is given up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

AttemptKind = Literal["returned", "alone"]


#: No step is told of more often than this, whatever its participant sends.
MOST_ATTEMPTS = 64


@dataclass(frozen=True, kw_only=True)
class Redelivery:
    """An attempt as it is recorded (see `colm.models.messages.Attempt`)."""

    attempt_id: str
    kind: AttemptKind
    worker: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Retry:
    """Ask the step once more, as a fresh message."""

    #: With nothing beside it in its worker.
    isolated: bool


@dataclass(frozen=True, kw_only=True)
class Fail:
    """Record the step as failed."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class AttemptLimits:
    """How often a step may come back."""

    #: Before it is run alone.
    in_company: int = 2
    #: From a run alone, before it is given up.
    alone: int = 1


def decide_redelivery(tried: Sequence[Redelivery], limits: AttemptLimits) -> Retry | Fail:
    """What to do with a step that was handed back, after all that was `tried` with it.

    A step that came back without having been started alone is asked alone once more: it was only
    waiting in a worker that something else killed.
    """
    returns = [i for i, attempt in enumerate(tried) if attempt.kind == "returned"]
    came_back_alone = sum(a.kind == "alone" for a in tried[: returns[-1]]) if returns else 0
    if came_back_alone >= limits.alone or len(tried) >= MOST_ATTEMPTS:
        return Fail(reason=_reason(tried))
    return Retry(isolated=len(returns) >= limits.in_company)


def _reason(tried: Sequence[Redelivery]) -> str:
    returned = [attempt.worker for attempt in tried if attempt.kind == "returned"]
    alone = [attempt.worker for attempt in tried if attempt.kind == "alone"]
    return (
        f"its worker died: it came back {_times(len(returned))} (told by {_names(returned)}) "
        f"and was run alone {_times(len(alone))} (by {_names(alone)})"
    )


def _names(workers: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(workers)) or "nobody"


def _times(count: int) -> str:
    return {0: "never", 1: "once"}.get(count, f"{count} times")


#: An engine keeps deadlines itself; this much later it is taken to hang (seconds).
HANG_GRACE = 30.0
