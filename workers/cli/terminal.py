"""Standard streams of any kind: any encoding, a full disk, closed."""

from __future__ import annotations

import codecs
import io
import os
import sys

#: ASCII replacements of the characters that our own output uses.
PLAIN = {
    "\N{HORIZONTAL ELLIPSIS}": "...", "\N{MIDDLE DOT}": "-", "\N{EN DASH}": "-",
    "\N{EM DASH}": "-", "\N{RIGHTWARDS ARROW}": "->", "\N{BULLET}": "*",
    "\N{LEFT SINGLE QUOTATION MARK}": "'", "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": '"', "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
}  # fmt: skip


def prepare() -> None:
    """Opens closed standard streams, and replaces characters that an encoding lacks."""
    # The next opened file would get the descriptor of a closed stream, and its output.
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    codecs.register_error("plain", _plain)
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - stays open
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="plain")


def unwritten(stream: object) -> OSError | None:
    """The error of flushing the stream, which is then redirected to /dev/null."""
    if not isinstance(stream, io.TextIOWrapper):
        return None
    try:
        stream.flush()
    except OSError as error:
        # Python flushes again at exit, and would fail again.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
        return error
    return None


def is_unicode(stream: object) -> bool:
    """Whether the stream's encoding has every character."""
    encoding = getattr(stream, "encoding", None) or "ascii"
    return codecs.lookup(encoding).name.startswith("utf")


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(PLAIN.get(character, "?") for character in lacking), error.end
