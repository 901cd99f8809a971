"""Normalization of equivalent characters: Unicode forms, dashes, quotes and spaces. Pure."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

#: Character ranges of scripts with spaces between words; not Chinese, Japanese, Korean, Thai. Few
#: ranges, because large classes compile slowly.
_SPACED = (
    "0-9A-Za-z_\u00aa\u00b5\u00ba\u00c0-\u0dff\u10a0-\u10ff\u1200-\u137f\u1e00-\u1fff\uff10-\uff5a"
)
#: A word character of such a script: a Chinese character beside "12" is none.
JOINED: Final = rf"(?-i:\w(?<=[{_SPACED}]))"
#: The same without the underscore, which also marks emphasis.
ALNUM: Final = rf"(?-i:[^\W_](?<=[{_SPACED}]))"
_joined = re.compile(JOINED)
#: One horizontal space.
SPACE: Final = "[ \\t\u00a0\u2000-\u200a\u202f\u205f\u3000]"
#: Dashes and minus signs, for a character class.
DASHES: Final = "\u2010-\u2015\u2212\ufe58\ufe63\uff0d\\-"
SUPERSCRIPTS: Final = "\u2070\u00b9\u00b2\u00b3\u2074-\u2079"
VULGAR: Final = "\u00bc-\u00be\u2150-\u215e\u2189"

#: Longer runs of marks are noise, and slow to normalize.
_MARKS = re.compile(r"([^\w\s\x00-\x7f]{32})[^\w\s\x00-\x7f]+")
_INVISIBLE = re.compile(
    "[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufe00-\ufe0f\ufeff]"
)
_RAISED = re.compile(f"[\u207a\u207b{SUPERSCRIPTS}]+")
_PARTS = re.compile(f"(\\d?)([{VULGAR}])")
_DASH = re.compile(f"[{DASHES}]")
#: Compatibility characters: full width, ligatures, enclosed letters, and others.
_COMPATIBLE = re.compile(
    "[\u00a0\u00aa\u00ba\u2000-\u200a\u2026\u202f\u205f\u2080-\u209c\u2100-\u214f\u2160-\u217f\u2460-\u24ff"
    "\u3000\u3200-\u33ff\ufb00-\ufdff\ufe30-\ufe6f\ufe70-\ufefc\uff00-\uffef\U0001d400-\U0001d7ff]+"
)
_ALIKE = str.maketrans(
    dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02bb\u02bc\u0060\u00b4", "'")
    | dict.fromkeys("\u300a\u300b\u300c\u300d\u300e\u300f", '"')
    | dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"')
    | dict.fromkeys("\u2044\u2215", "/")
    | {"\u3002": ".", "\u3001": ","}
)


def composed(text: str) -> str:
    """`text` in Unicode's composed form (NFC), without invisible characters."""
    return unicodedata.normalize("NFC", _INVISIBLE.sub("", _MARKS.sub(r"\1", text)))


def is_word_character(character: str) -> bool:
    """Whether it matches JOINED; false for an empty string."""
    return _joined.match(character) is not None


def ascii_digits(text: str) -> str:
    """Superscript or full-width digits in ASCII: those of `10⁻³` as `-3`."""
    return unicodedata.normalize("NFKC", text).replace("\u2212", "-")


def vulgar_fraction(character: str) -> str:
    """`½` as `1/2`."""
    return unicodedata.normalize("NFKC", character).replace("\u2044", "/")


def plain(text: str) -> str:
    """`text` with equivalent characters unified: NFKC, dashes, quotes, superscripts, fractions.

    Accents and case are preserved.
    """
    text = _PARTS.sub(
        lambda m: f"{m[1]} {vulgar_fraction(m[2])}" if m[1] else vulgar_fraction(m[2]),
        composed(text),
    )
    text = _RAISED.sub(lambda m: f"^{ascii_digits(m[0])}", text)
    text = _COMPATIBLE.sub(lambda m: unicodedata.normalize("NFKC", m[0]), text)
    return _DASH.sub("-", text.translate(_ALIKE))
