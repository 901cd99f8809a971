"""Guessing the next tokens from what was said before: prompt lookup. Pure: no torch.

A refinement repeats much of its draft, which stands in its prompt. Where the last few tokens stood
before, what followed them then is guessed to follow again. A forward pass over the guesses costs
little more than one over a single token, and keeps those that would have been drawn anyway.
"""

from __future__ import annotations

from collections.abc import Sequence

#: Tokens that must have stood together before.
NGRAM = 3
#: Below this share of right guesses a request guesses no more, but for one try now and then.
_WORTH = 0.3
_TRY_AGAIN = 24


class Lookup:
    """One request's memory of where its n-grams stood, and how well its guesses did."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens = list(tokens)
        #: Where the latest occurrence of each n-gram ended, but for the one at the very end.
        self._ends: dict[tuple[int, ...], int] = {}
        self._seen = NGRAM - 1
        self._trust = 0.6
        self._rest = 0

    def extend(self, tokens: Sequence[int]) -> None:
        self._tokens.extend(tokens)

    def propose(self, most: int) -> list[int]:
        """Up to `most` tokens that may come next; none where nothing is known, or little hoped."""
        if most <= 0 or self._rests():
            return []
        self._index()
        end = self._ends.get(tuple(self._tokens[-NGRAM:]))
        return [] if end is None else self._tokens[end : end + most]

    def record_acceptance(self, guessed: int, right: int) -> None:
        """Learn that of `guessed` tokens the first `right` were drawn."""
        self._trust += 0.25 * (right / guessed - self._trust)
        if self._trust < _WORTH:
            self._rest = _TRY_AGAIN

    def _rests(self) -> bool:
        self._rest -= 1
        return self._rest > 0

    def _index(self) -> None:
        """Note every n-gram that something follows."""
        for end in range(self._seen + 1, len(self._tokens)):
            self._ends[tuple(self._tokens[end - NGRAM : end])] = end
        self._seen = max(self._seen, len(self._tokens) - 1)
