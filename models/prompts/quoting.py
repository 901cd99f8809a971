"""Quoting of untrusted text between tags, so that it cannot close its own tag (prompt injection).
Models also accept a tag with spaces, invisible characters, look-alike letters or HTML entities, so
everything that resembles the tag loses its opening bracket. Pure.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import takewhile

#: Opening brackets: `<`, its look-alikes, and its escapes.
_BRACKET = re.compile(
    "[<\uff1c\ufe64\u2039\u3008\u2329\u27e8\u276e\u27ea\u300a\u00ab\u226a\u227a\u02c2\u1438\u276c]"
    r"|&lt;?|&#0*60;?|&#x0*3c;?|\\u003c|\\x3c|%3c",
    re.IGNORECASE,
)
#: Characters after a bracket in which the tag is searched.
_NEAR = 64
#: Homoglyphs of the letters of tags, after case folding.
_LIKE = {
    "a": "\u0430\u03b1\u0251\u1d00", "c": "\u0441", "d": "\u0501\u1d05", "e": "\u0435\u03b5\u1d07",
    "f": "\u0192\ua799\ua730", "i": "\u0131\u0456", "l": "\u04cf", "n": "\u043f\u03b7\u0274",
    "o": "\u043e\u03bf\u1d0f", "p": "\u0440", "r": "\u0433\u0280", "s": "\u0455",
    "t": "\u0442\u03c4\u1d1b", "v": "\u03bd", "w": "\u051d\u03c9",
}  # fmt: skip
_LOOK_ALIKES = str.maketrans(
    {alike: letter for letter, alikes in _LIKE.items() for alike in alikes}
)


def quote_untrusted(text: str, tag: str, limit: int | None = None) -> str:
    """`text` with `[` for the opening bracket of everything that resembles the tag `tag`.

    With a `limit` the text is stripped and cut to that many characters first.
    """
    if limit is not None:
        text = _truncate(text.strip(), limit)

    def replace(match: re.Match[str]) -> str:
        after = text[match.end() : match.end() + _NEAR]
        return "[" if _letters(after).startswith(tag) else match.group()

    return _BRACKET.sub(replace, text)


def _truncate(text: str, limit: int) -> str:
    missing = len(text) - limit
    return text if missing <= 0 else f"{text[:limit]}\n[{missing} characters left out]"


def _letters(text: str) -> str:
    """The letters before the first digit, normalized in case, accents, width and alphabet."""
    plain = unicodedata.normalize("NFKD", text).casefold().translate(_LOOK_ALIKES)
    kinds = [(c, unicodedata.category(c)[0]) for c in plain]
    near = takewhile(lambda pair: pair[1] != "N", kinds)
    return "".join(c for c, kind in near if kind == "L")
