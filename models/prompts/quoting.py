"""Quoting what others wrote: a text cannot end its own frame, nor open another's. Pure.

A frame is a pair of tags. A model reads a tag with a space, an invisible character, a Cyrillic
letter or an HTML entity in it much as it reads the tag itself, so whatever looks like the beginning
of one loses its bracket.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import takewhile

#: What can be read as an opening bracket: `<`, its look-alikes, and its escapes.
_BRACKET = re.compile(
    "[<\uff1c\ufe64\u2039\u3008\u2329\u27e8\u276e\u27ea\u300a\u00ab\u226a\u227a\u02c2\u1438\u276c]"
    r"|&lt;?|&#0*60;?|&#x0*3c;?|\\u003c|\\x3c|%3c",
    re.IGNORECASE,
)
#: How far after a bracket its tag is looked for (characters).
_NEAR = 64
#: Letters of other alphabets that look like those of a tag, after case folding.
_LIKE = {
    "a": "\u0430\u03b1\u0251\u1d00",
    "c": "\u0441",
    "d": "\u0501\u1d05",
    "e": "\u0435\u03b5\u1d07",
    "f": "\u0192\ua799\ua730",
    "i": "\u0131\u0456",
    "l": "\u04cf",
    "n": "\u043f\u03b7\u0274",
    "o": "\u043e\u03bf\u1d0f",
    "p": "\u0440",
    "r": "\u0433\u0280",
    "s": "\u0455",
    "t": "\u0442\u03c4\u1d1b",
    "v": "\u03bd",
    "w": "\u051d\u03c9",
}
_LOOK_ALIKES = str.maketrans(
    {alike: letter for letter, alikes in _LIKE.items() for alike in alikes}
)


def quote_untrusted(text: str, tag: str) -> str:
    """`text` with the bracket of everything that can be read as a tag called `tag` made a `[`."""

    def defuse(match: re.Match[str]) -> str:
        after = text[match.end() : match.end() + _NEAR]
        return "[" if _letters(after).startswith(tag) else match.group()

    return _BRACKET.sub(defuse, text)


def _letters(text: str) -> str:
    """The letters before the first digit, as they look: no case, accents, width or alphabets."""
    plain = unicodedata.normalize("NFKD", text).casefold().translate(_LOOK_ALIKES)
    kinds = [(c, unicodedata.category(c)[0]) for c in plain]
    near = takewhile(lambda seen: seen[1] != "N", kinds)
    return "".join(c for c, kind in near if kind == "L")
