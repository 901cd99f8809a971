"""Exclusion of unreliable clients and of near-copies. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from colm.models.client_reliability import is_near_copy, unreliable_clients
from colm.models.messages import Message, Name


class TrustOptions(Message):
    """Defences against dishonest clients; off by default."""

    #: Clients of a lower reliability (`colm reliability`) are excluded.
    min_reliability: float | None = Field(default=None, gt=0, le=1)
    #: Reliability of each client; the coordinator fills it in if the site sets min_reliability.
    reliability: dict[Name, Annotated[float, Field(ge=0, le=1)]] = Field(default={})
    #: Whether near-copies of an earlier draft are excluded.
    drop_copies: bool = False


def excluded_clients(drafts: Mapping[str, str], options: TrustOptions) -> dict[str, str]:
    """Excluded clients with the reason, never all of them. `drafts` are in order of dispatch."""
    reasons: dict[str, str] = {}
    if options.min_reliability is not None:
        for name in unreliable_clients(options.reliability, list(drafts), options.min_reliability):
            score = options.reliability[name]
            reasons[name] = f"reliability {score:.2f} is below {options.min_reliability:g}"
    if options.drop_copies:
        originals: dict[str, str] = {}
        for name, text in drafts.items():
            copied = next((n for n, t in originals.items() if is_near_copy(text, t)), None)
            if copied is None:
                originals[name] = text
            elif name not in reasons:
                reasons[name] = f"a near-copy of {copied}'s"
    return reasons if len(reasons) < len(drafts) else {}
