"""What is sound in a text that a model or a worker wrote. Pure."""

from __future__ import annotations


def mended(text: str) -> str:
    """`text` with U+FFFD for NUL and for half a character, which no database and no JSON stores.

    Two halves that meet are the character that they make.
    """
    text = text.replace("\x00", "\N{REPLACEMENT CHARACTER}")
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def blank(text: str) -> bool:
    """Whether nothing in `text` can be seen: white space, control and format characters alone."""
    return not any(c.isprintable() and not c.isspace() for c in text)
