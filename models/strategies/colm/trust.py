"""Whose answers count: without those of unreliable clients, and each near-copy once. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from colm.models.client_reliability import is_near_copy, left_out
from colm.models.messages import Message, Name


class TrustOptions(Message):
    """Defences against clients that are not honest; off by default."""

    #: Below this reliability (`colm reliability`) a client's answers count for nothing.
    min_reliability: float | None = Field(default=None, gt=0, le=1)
    #: Each client's reliability; a coordinator fills it in where the site sets min_reliability.
    reliability: dict[Name, Annotated[float, Field(ge=0, le=1)]] = Field(default={})
    #: Whether of drafts that are near-copies only the first counts.
    drop_copies: bool = False


def discounted(drafts: Mapping[str, str], options: TrustOptions) -> dict[str, str]:
    """The clients whose answers do not count, with why; `drafts` are in the order asked.

    Never all of them.
    """
    why: dict[str, str] = {}
    if options.min_reliability is not None:
        for name in left_out(options.reliability, list(drafts), options.min_reliability):
            score = options.reliability[name]
            why[name] = f"reliability {score:.2f} is below {options.min_reliability:g}"
    if options.drop_copies:
        kept: dict[str, str] = {}
        for name, text in drafts.items():
            copied = next((n for n, t in kept.items() if is_near_copy(text, t)), None)
            if copied is None:
                kept[name] = text
            elif name not in why:
                why[name] = f"a near-copy of {copied}'s"
    return why if len(why) < len(drafts) else {}
