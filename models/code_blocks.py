"""Where the Python is in what a model wrote: fenced blocks, or lines among prose. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

#: A fence that opens: what stands before it on its line, itself, and the language that it names.
_OPENS = re.compile(r"^(?P<before>[^`~]*?)(?P<fence>`{3,}|~{3,})[ \t]*(?P<language>[^\s`~]*)[^`]*$")
_PYTHON = {"", "python", "py", "python3", "py3"}
_CODE_START = re.compile(r"^(?:from \w|import \w|def \w|class \w|@\w|async def \w)", re.M)
#: Places in prose that are tried as the beginning of a program.
MAX_STARTS = 5


class Blocks(NamedTuple):
    """The fenced blocks of a text, in their order."""

    #: Those that are Python, or name no language.
    python: tuple[str, ...]
    #: Whether there is any at all.
    fenced: bool


def blocks_in(text: str) -> Blocks:
    """As CommonMark has them: a block ends with a fence of its own kind that is as long as its
    first and not indented further than the block; or with the text."""
    found = list(_blocks(text.splitlines(keepends=True)))
    return Blocks(tuple(b for language, b in found if language in _PYTHON), bool(found))


def unfenced(text: str, is_python: Callable[[str], int | None]) -> str | None:
    """The longest run of lines that begins as code does and is Python; None where there is none.

    `is_python` says None of what is, else the line (from 1) at which it stops to be.
    """
    for start in list(_CODE_START.finditer(text))[:MAX_STARTS]:
        lines = text[start.start() :].splitlines(keepends=True)
        while lines:
            fault = is_python("".join(lines))
            if fault is None:
                break
            lines = lines[: max(0, min(fault, len(lines)) - 1)]
        if lines:
            return "".join(lines)
    return None


def first_code(text: str) -> str:
    """All of `text` from the first line that begins as code does; empty where none does."""
    start = _CODE_START.search(text)
    return text[start.start() :] if start else ""


def _blocks(lines: list[str]) -> Iterator[tuple[str, str]]:
    """The language of each block, in lower case, and its lines."""
    opened: re.Match[str] | None = None
    inside: list[str] = []
    for line in lines:
        if opened is None:
            opened = _opening(line)
        elif (rest := _closing(line, opened)) is None:
            inside.append(line)
        else:
            yield opened["language"].lower(), "".join([*inside, rest])
            opened, inside = None, []
    if opened is not None:
        yield opened["language"].lower(), "".join(inside)


def _opening(line: str) -> re.Match[str] | None:
    """A fence after words on its line opens a block only if it says that it is Python."""
    found = _OPENS.match(line.rstrip("\r\n"))
    if found and found["before"].strip() and found["language"].lower() not in _PYTHON - {""}:
        return None
    return found


def _closing(line: str, opened: re.Match[str]) -> str | None:
    """What of the line is in the block, if the line closes it; else None."""
    before, fence = opened["before"], opened["fence"]
    indent = 0 if before.strip() else len(before)
    rest = line.rstrip()
    code = rest.rstrip(fence[0])
    if len(rest) - len(code) < len(fence):
        return None
    if code.strip():
        return code + "\n"
    return "" if len(code) <= indent + 3 else None
