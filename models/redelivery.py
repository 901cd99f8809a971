"""Redelivery policy for steps that may have killed their worker (poison messages). Pure.

The broker counts deliveries of every message that a dying worker held, also of innocent ones. Here
each step is counted under its own key. A step that is redelivered repeatedly is run isolated; only
a step that was isolated when its worker died fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

AttemptKind = Literal["returned", "alone"]

#: Recorded attempts of one step.
MAX_ATTEMPTS = 64
#: Seconds after a step's deadline until its engine counts as hanging.
HANG_GRACE = 30.0


@dataclass(frozen=True, kw_only=True)
class Redelivery:
    """A recorded `colm.models.messages.Attempt`."""

    attempt_id: str
    kind: AttemptKind
    worker: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Retry:
    """Publish the step again, as a new message."""

    #: Whether no other step may run beside it.
    isolated: bool


@dataclass(frozen=True, kw_only=True)
class Fail:
    """Record the step as failed."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class AttemptLimits:
    #: Redeliveries before the step is isolated.
    in_company: int = 2
    #: Redeliveries of an isolated run before the step fails.
    alone: int = 1


def decide_redelivery(attempts: Sequence[Redelivery], limits: AttemptLimits) -> Retry | Fail:
    """The decision on a returned step, from all its attempts.

    An isolated step that was returned before it started is retried isolated: something else killed
    the worker in which it waited.
    """
    returns = [i for i, attempt in enumerate(attempts) if attempt.kind == "returned"]
    isolated_deaths = sum(a.kind == "alone" for a in attempts[: returns[-1]]) if returns else 0
    if isolated_deaths >= limits.alone or len(attempts) >= MAX_ATTEMPTS:
        return Fail(reason=_reason(attempts))
    return Retry(isolated=len(returns) >= limits.in_company)


def _reason(attempts: Sequence[Redelivery]) -> str:
    returned = [attempt.worker for attempt in attempts if attempt.kind == "returned"]
    alone = [attempt.worker for attempt in attempts if attempt.kind == "alone"]
    return (
        f"its worker died: it was redelivered {_times(len(returned))} (to {_names(returned)}) "
        f"and was run alone {_times(len(alone))} (by {_names(alone)})"
    )


def _names(workers: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(workers)) or "nobody"


def _times(count: int) -> str:
    return {0: "never", 1: "once"}.get(count, f"{count} times")
