"""Unicode checks of untrusted text. Pure."""

from __future__ import annotations


def replace_unstorable(text: str) -> str:
    """`text` with U+FFFD for NUL and for lone surrogates, which databases and JSON cannot store.

    Surrogate pairs become the character that they encode.
    """
    text = text.replace("\x00", "\N{REPLACEMENT CHARACTER}")
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def is_blank(text: str) -> bool:
    """Whether `text` has only white space, control and format characters."""
    return not any(c.isprintable() and not c.isspace() for c in text)
