"""The tokens and words by which a model tells turns apart, and texts that hold none of them.

What a user or another model wrote must not end its own turn and begin another's. A marker in it is
broken up: a space goes behind its first character.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from tokenizers import AddedToken

from colm.models.answers.thoughts import is_mark, marks_in

#: Words that only a template writes, whether or not they are tokens.
_WRITTEN = re.compile(
    r"<[|\uff5c][^<>|\uff5c\s]{1,60}[|\uff5c]>|<\|?/?[A-Za-z_][\w:\u2581-]{0,40}\|?>|<</?[A-Z]{2,10}>>"
    r"|\[/?[A-Z][A-Z_]{1,40}\]|#{2,} ?[A-Z][a-z]{1,20}:"
)
_CONTROL = re.compile(r"<[|\uff5c].*[|\uff5c]>", re.DOTALL)
_BRACKETED = re.compile(r"[<\[\u25c1\u3010{(].*[>\]\u25b7\u3011})]", re.DOTALL)
_WORD = re.compile(r"[\w\s]*")
#: Where a space goes to leave no two signs beside each other, and no sign beside a word.
_SIGNS = re.compile(r"[^\w\s]+")
_BESIDE = re.compile(r"(?<=[^\w\s])(?=\S)|(?<=\S)(?=[^\w\s])")


class Markers:
    """Which tokens are markers, by the tokenizer and by what its template writes around turns.

    `tokens`: those that were added to the vocabulary. `sources`: the templates themselves.
    """

    def __init__(self, tokens: Mapping[int, AddedToken], sources: str, written: str) -> None:
        spellings = {
            number: token.content
            for number, token in tokens.items()
            if _is_marker(token, sources, written)
        }
        #: The tokens that begin and end turns; those of thoughts are left to the template.
        self.turns = frozenset(number for number, text in spellings.items() if not is_mark(text))
        #: Those of them that may end one.
        self.ends = frozenset(
            n for n in self.turns if tokens[n].special or _bracketed(spellings[n])
        )
        texts = {*spellings.values(), *_WRITTEN.findall(written), *marks_in(sources)}
        single = {text for text in texts if len(text.strip()) == 1}
        self._unbreakable = {text for text in single if text in written}
        self._pattern = _any_of(texts - single | self._unbreakable)

    def defused(self, text: str) -> str:
        """`text` with every marker broken up that can be read in it."""
        if self._pattern is None:
            return text
        while (broken := self._pattern.sub(self._broken, text)) != text:
            text = broken
        return text

    def spread(self, text: str) -> str:
        """The same for markers that only the tokenizer sees: of capitals that it makes small, of
        signs of another width, of the end of one turn and the beginning of the next."""
        return _BESIDE.sub(" ", self.defused(text))

    def bare(self, text: str) -> str:
        """`text` without any sign, for a tokenizer that takes no notice of spaces."""
        return _SIGNS.sub(" ", text)

    def _broken(self, match: re.Match[str]) -> str:
        if match[0] in self._unbreakable:
            return "\N{REPLACEMENT CHARACTER}"
        return f"{match[0][:1]} {match[0][1:]}"


def _is_marker(token: AddedToken, sources: str, written: str) -> bool:
    text = token.content
    if not text.strip():
        return False
    if token.special or _CONTROL.fullmatch(text) or is_mark(text):
        return True
    if _WORD.fullmatch(text):
        return False  # a word that the template happens to write
    return text in written or (text in sources and _bracketed(text))


def _bracketed(text: str) -> bool:
    return _BRACKETED.fullmatch(text) is not None


def _any_of(texts: Iterable[str]) -> re.Pattern[str] | None:
    longest_first = sorted(set(texts), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
