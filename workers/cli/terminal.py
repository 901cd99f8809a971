"""What a command writes to, whatever that is: a terminal of any encoding, a full disk, nothing."""

from __future__ import annotations

import codecs
import io
import os
import sys

#: What stands for the characters that we print ourselves, where an encoding lacks them.
PLAIN = {
    "\N{HORIZONTAL ELLIPSIS}": "...", "\N{MIDDLE DOT}": "-", "\N{EN DASH}": "-",
    "\N{EM DASH}": "-", "\N{RIGHTWARDS ARROW}": "->", "\N{BULLET}": "*",
    "\N{LEFT SINGLE QUOTATION MARK}": "'", "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": '"', "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
}  # fmt: skip


def prepare() -> None:
    """Let every standard stream be there, and write what its encoding lacks in another way."""
    # A file that is opened next would take the place of a closed stream, and get what is written.
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
    """Why what was printed to the stream cannot be written; it is given up then."""
    if not isinstance(stream, io.TextIOWrapper):
        return None
    try:
        stream.flush()
    except OSError as error:
        # Python flushes it once more at its end, and would fail again.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
        return error
    return None


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(PLAIN.get(character, "?") for character in lacking), error.end
