"""Where the Python is in what a model wrote: fenced blocks, or lines among prose. Pure."""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

from colm.models.answers.program_tests import parsed

#: A fence that opens: what stands before it on its line, itself, and the language that it names.
_OPENS = re.compile(r"^(?P<before>[^`~]*?)(?P<fence>`{3,}|~{3,})[ \t]*(?P<language>[^\s`~]*)[^`]*$")
#: "python", "py3", "python3.11", "ipython", "{.python}", "python:main.py", "python{1}", "main.py".
_PYTHON = re.compile(r"\{?\.?(?:i?python|py(?:con)?)[\d.]*(?![a-z\d])|\S*\.py(?![a-z])", re.I)
#: Names of languages that say nothing of the language.
_UNNAMED = frozenset({"", "text", "plaintext", "plain", "txt", "code", "none", "pseudocode"})
_CODE_START = re.compile(r"^(?:from \w|import \w|def \w|class \w|@\w|async def \w)", re.M)
#: A few words of code between backticks, on one line.
_SPAN = re.compile(r"(?<!`)(`{1,3})(?!`)([^`\n]+)(?<!`)\1(?!`)")
#: Marks around a program that some models were taught.
_TAG = re.compile(r"^\[/?(?:BEGIN|DONE|END|PYTHON|CODE|ANSWER)\][ \t]*$", re.M)
#: What notebooks and consoles have before code, and what stands for a space in copied text.
_COMMAND = re.compile(r"^[ \t]*[%!].*$", re.M)
_PROMPT = re.compile(r"^[ \t]*(?:>>>|\.\.\.)(?: |$)", re.M)
_QUOTED = re.compile(r"^[ \t]*>(?: |$)", re.M)
_SPACES = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u3000": " ", "\u200b": "", "\ufeff": ""})
#: Places in prose that are tried as the beginning of a program.
MAX_STARTS = 5
#: What stands for a block while the text around it is read: of a private use, as no text is.
_MARK = "\ue000{}\ue001"


class Block(NamedTuple):
    """The lines of one block."""

    text: str
    #: Whether it says that it is Python, or names no language.
    python: bool
    #: Whether it may be anything: its language is none, or text.
    unnamed: bool
    #: Where it begins in the text that it was found in, and where it ends.
    start: int = 0
    end: int = 0


def blocks_in(text: str) -> list[Block]:
    """The fenced blocks of `text` in their order, as CommonMark has them.

    A block ends with a fence of its own kind that is as long as its first and not indented further
    than the block; or with the text.
    """
    return list(_blocks(text.splitlines(keepends=True)))


def spans_in(text: str) -> list[str]:
    """Code between backticks within a line."""
    return [found[2].strip() for found in _SPAN.finditer(text)]


def beside_blocks(read: Callable[[str], str | None], text: str) -> str | None:
    """What `read` leaves of `text`, which sees nothing of what programs in it hold: a tag in a
    string of a program is none."""
    if parsed(text) is not None:
        return text
    blocks = blocks_in(text)
    hidden = [(b.start, b.end) for b in blocks if parsed(cleaned(b.text)) is not None]
    if not blocks and (lines := unfenced(text)):
        hidden = [(start := text.index(lines), start + len(lines))]
    marked, at = "", 0
    for number, (start, end) in enumerate(hidden):
        marked += text[at:start] + _MARK.format(number)
        at = end
    left = read(marked + text[at:])
    for number, (start, end) in enumerate(hidden):
        left = left and left.replace(_MARK.format(number), text[start:end])
    return left


def cleaned(code: str) -> str:
    """`code`, and where it is no Python without what notebooks, consoles and quotes add to it."""
    code = textwrap.dedent(_TAG.sub("", code))
    if parsed(code) is not None:
        return code
    plain = code.translate(_SPACES)
    for added in (_COMMAND, _PROMPT, _QUOTED):
        if parsed(plain) is None and added.search(plain):
            plain = added.sub("", plain)
    return plain if parsed(plain) is not None else code


def unfenced(text: str) -> str | None:
    """The longest run of lines that begins as code does and is Python; None where there is none."""
    for start in list(_CODE_START.finditer(text))[:MAX_STARTS]:
        lines = text[start.start() :].splitlines(keepends=True)
        while lines:
            fault = _fault_line("".join(lines))
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


def _fault_line(code: str) -> int | None:
    """The line (from 1) at which `code` stops to be Python; None where it does not."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(code)
    except SyntaxError as error:
        return error.lineno or 1
    except (ValueError, RecursionError, MemoryError):
        return 1
    return None


def _blocks(lines: list[str]) -> Iterator[Block]:
    opened: re.Match[str] | None = None
    start = at = 0
    inside: list[str] = []
    for line in lines:
        at += len(line)
        if opened is None:
            opened, start = _opening(line), at
        elif (rest := _closing(line, opened)) is None:
            inside.append(line)
        else:
            yield _block(opened, [*inside, rest], start)
            opened, inside = None, []
    if opened is not None:
        yield _block(opened, inside, start)


def _block(opened: re.Match[str], lines: list[str], start: int) -> Block:
    text = "".join(lines)
    language = opened["language"]
    python = not language or _PYTHON.match(language) is not None
    unnamed = language.lower() in _UNNAMED
    return Block(text, python, unnamed, start, start + len(text.rstrip("\n")))


def _opening(line: str) -> re.Match[str] | None:
    """A fence after words on its line opens a block only if it says that it is Python."""
    found = _OPENS.match(line.rstrip("\r\n"))
    if found and found["before"].strip(" \t>") and not _PYTHON.match(found["language"]):
        return None
    return found


def _closing(line: str, opened: re.Match[str]) -> str | None:
    """What of the line is in the block, if the line closes it; else None."""
    before, fence = opened["before"], opened["fence"]
    quoted = before.strip() == ">"
    indent = 0 if before.strip() else len(before)
    rest = line.rstrip()
    code = rest.rstrip(fence[0])
    if len(rest) - len(code) < len(fence):
        return None
    if code.strip(" \t>" if quoted else None):
        return code + "\n"
    return "" if quoted or len(code) <= indent + 3 else None
