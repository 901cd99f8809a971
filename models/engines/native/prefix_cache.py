"""KV of finished requests, reused for prompts with the same prefix. Pure: no torch.

The KV of a token depends on the tokens before it and on the adapter, and on nothing else. So
whatever request a prefix was computed for, any request with the same adapter whose prompt begins
with the same tokens may go on from it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

KV = TypeVar("KV")

#: A shorter common prefix is not worth the copy.
MIN_SHARED = 8


@dataclass(frozen=True, kw_only=True)
class Match(Generic[KV]):
    """A prefix that need not be computed again: the first `length` tokens of `kv`."""

    kv: KV
    length: int


@dataclass(frozen=True, kw_only=True)
class _Entry(Generic[KV]):
    tokens: Sequence[int]
    kv: KV
    #: SHA-256 of the adapter that computed it.
    adapter: str | None


class PrefixCache(Generic[KV]):
    """At most `limit` tokens of KV, the least recently used conversation forgotten first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: OrderedDict[str, _Entry[KV]] = OrderedDict()
        self._held = 0

    @property
    def tokens(self) -> int:
        return self._held

    def wants(self, length: int) -> bool:
        """Whether `length` tokens would be kept at all; ask before copying them."""
        return MIN_SHARED <= length <= self._limit

    def put(
        self, conversation: str, tokens: Sequence[int], kv: KV, *, adapter: str | None = None
    ) -> None:
        """Remember `kv` as the conversation's latest, in place of what it left before."""
        self.evict(conversation)
        if not self.wants(len(tokens)):
            return
        self._entries[conversation] = _Entry(tokens=tokens, kv=kv, adapter=adapter)
        self._held += len(tokens)
        while self._held > self._limit:
            self.evict(next(iter(self._entries)))

    def match(self, prompt: Sequence[int], *, adapter: str | None = None) -> Match[KV] | None:
        """The longest kept prefix of `prompt`, short of its last token, whose logits are needed.

        KV of another adapter than `adapter` (SHA-256) does not count.
        """
        usable = prompt[:-1]
        best, length = None, MIN_SHARED - 1
        for conversation, entry in self._entries.items():
            if entry.adapter != adapter:
                continue
            shared = shared_prefix(usable, entry.tokens)
            if shared > length:
                best, length = conversation, shared
        if best is None:
            return None
        self._entries.move_to_end(best)
        return Match(kv=self._entries[best].kv, length=length)

    def evict(self, conversation: str) -> None:
        entry = self._entries.pop(conversation, None)
        if entry is not None:
            self._held -= len(entry.tokens)

    def clear(self) -> None:
        self._entries.clear()
        self._held = 0


def shared_prefix(first: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two sequences have in common at the start.

    Halving compares slices at the speed of C: a long prompt against a hundred entries takes a
    millisecond or so.
    """
    low, high = 0, min(len(first), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
