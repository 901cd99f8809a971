"""Extraction of Python from Markdown: fenced blocks, or code lines among prose. Pure."""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

from colm.models.answers.program_tests import parse_python

#: An opening fence: the text before it, the fence, and the language.
_OPENS = re.compile(r"^(?P<before>[^`~]*?)(?P<fence>`{3,}|~{3,})[ \t]*(?P<language>[^\s`~]*)[^`]*$")
#: "python", "py3", "python3.11", "ipython", "{.python}", "python:main.py", "python{1}", "main.py".
_PYTHON = re.compile(r"\{?\.?(?:i?python|py(?:con)?)[\d.]*(?![a-z\d])|\S*\.py(?![a-z])", re.I)
#: Info strings that do not exclude Python.
_UNNAMED = frozenset({"", "text", "plaintext", "plain", "txt", "code", "none", "pseudocode"})
_CODE_START = re.compile(r"^(?:from \w|import \w|def \w|class \w|@\w|async def \w)", re.M)
#: Inline code.
_SPAN = re.compile(r"(?<!`)(`{1,3})(?!`)([^`\n]+)(?<!`)\1(?!`)")
#: Tags of some models around a program.
_TAG = re.compile(r"^\[/?(?:BEGIN|DONE|END|PYTHON|CODE|ANSWER)\][ \t]*$", re.M)
#: Notebook commands, console prompts, quote marks, and special spaces.
_COMMAND = re.compile(r"^[ \t]*[%!].*$", re.M)
_PROMPT = re.compile(r"^[ \t]*(?:>>>|\.\.\.)(?: |$)", re.M)
_QUOTED = re.compile(r"^[ \t]*>(?: |$)", re.M)
_SPACES = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u3000": " ", "\u200b": "", "\ufeff": ""})
#: Lines that are tried as the beginning of a program.
MAX_STARTS = 5
#: Placeholder of a block, of private-use characters.
_MARK = "\ue000{}\ue001"


class Block(NamedTuple):
    text: str
    #: Whether its language is Python or missing.
    python: bool
    #: Whether its language is missing or generic.
    unnamed: bool
    #: Position in the text.
    start: int = 0
    end: int = 0


def fenced_blocks(text: str) -> list[Block]:
    """The fenced blocks of `text` (CommonMark); an unclosed one ends with the text."""
    return list(_blocks(text.splitlines(keepends=True)))


def inline_spans(text: str) -> list[str]:
    return [span[2].strip() for span in _SPAN.finditer(text)]


def outside_code(read: Callable[[str], str | None], text: str) -> str | None:
    """The result of `read` on `text` with masked programs: tags in their strings do not count."""
    if parse_python(text) is not None:
        return text
    blocks = fenced_blocks(text)
    hidden = [(b.start, b.end) for b in blocks if parse_python(clean_code(b.text)) is not None]
    if not blocks and (lines := find_unfenced_code(text)):
        hidden = [(start := text.index(lines), start + len(lines))]
    marked, at = "", 0
    for number, (start, end) in enumerate(hidden):
        marked += text[at:start] + _MARK.format(number)
        at = end
    left = read(marked + text[at:])
    for number, (start, end) in enumerate(hidden):
        left = left and left.replace(_MARK.format(number), text[start:end])
    return left


def clean_code(code: str) -> str:
    """`code`, without prompts, quote marks and notebook commands if it only parses so."""
    code = textwrap.dedent(_TAG.sub("", code))
    if parse_python(code) is not None:
        return code
    plain = code.translate(_SPACES)
    for added in (_COMMAND, _PROMPT, _QUOTED):
        if parse_python(plain) is None and added.search(plain):
            plain = added.sub("", plain)
    return plain if parse_python(plain) is not None else code


def find_unfenced_code(text: str) -> str | None:
    """The longest run of lines from a line of code that parses; None if there is none."""
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
    """`text` from its first line of code on; empty without one."""
    start = _CODE_START.search(text)
    return text[start.start() :] if start else ""


def _fault_line(code: str) -> int | None:
    """The line number (from 1) of the first syntax error; None without one."""
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
    """The match of an opening fence; after other words it must name Python."""
    match = _OPENS.match(line.rstrip("\r\n"))
    if match and match["before"].strip(" \t>") and not _PYTHON.match(match["language"]):
        return None
    return match


def _closing(line: str, opened: re.Match[str]) -> str | None:
    """The code before a closing fence on its line; None if the line does not close the block."""
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
