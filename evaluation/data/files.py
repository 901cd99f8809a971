"""Reader of JSON lines, JSON, CSV and TSV files, and of folders of them.

An unreadable row is yielded with its place and reason. An unreadable file, or content that does not
match the file's name, raises InvalidAsk.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

from colm.evaluation.data.values import Cell, Row
from colm.models.errors import InvalidAsk

#: A place, with the row or the reason that there is none.
LocatedRow = tuple[str, Row | str]

#: First bytes of binary files, and advice.
_BINARY: Final = (
    (b"\x1f\x8b", "is compressed with gzip: unpack it"),
    (b"\x28\xb5\x2f\xfd", "is compressed with zstd: unpack it"),
    (b"BZh", "is compressed with bzip2: unpack it"),
    (b"\xfd7zXZ", "is compressed with xz: unpack it"),
    (b"PAR1", "is Parquet: save it as JSON lines"),
    (b"ARROW1", "is Arrow: save it as JSON lines"),
    (b"PK\x03\x04", "is a spreadsheet or an archive: save it as CSV, or unpack it"),
    (b"SQLite format 3", "is a SQLite database: save its table as CSV"),
    (b"version https://git-lfs", "is a Git LFS pointer and not the file: fetch it (git lfs pull)"),
    (b"\xff\xfe", "is UTF-16: save it as UTF-8"),
    (b"\xfe\xff", "is UTF-16: save it as UTF-8"),
)
#: Keys of the rows in a JSON object (BIG-Bench Hard and others).
_LISTS: Final = ("examples", "data", "rows", "questions", "items", "instances")
_SEPARATORS: Final = {";": "semicolons", "\t": "tabs", "|": "bars"}

# The default bound is 131,072 characters a cell.
csv.field_size_limit(2**31 - 1)


class _Repeated(dict[str, Any]):
    """A JSON object with two values under one name."""

    repeated = ""


def rows_of(path: Path) -> Iterator[LocatedRow]:
    """The rows of a file, or of a folder's files in order of their names. Raises InvalidAsk."""
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if _reads(p) and p.is_file())
        files = [file for file in files if not file.name.startswith(".")]
        if not files:
            raise InvalidAsk(f"the folder {path} holds no {', '.join(READERS)} file")
    else:
        files = [path]
    for file in files:
        if not _reads(file):
            raise InvalidAsk(
                f"{file} is not a {', '.join(READERS)} file: unpack it, or save it as one"
            )
        reader = READERS[file.suffix.lower()]
        text = _text_of(file)
        try:
            yield from ((f"{file.name}:{place}", row) for place, row in reader(text))
        except _WrongKind as error:
            raise InvalidAsk(f"{file} {error}") from error


class _WrongKind(ValueError):
    """The content is in no supported format."""


class _NoJson(ValueError):
    """The text is not JSON."""


def _reads(file: Path) -> bool:
    return file.suffix.lower() in READERS


def _text_of(file: Path) -> str:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InvalidAsk(f"{file} cannot be read: {error}") from error
    for start, advice in _BINARY:
        if content.startswith(start):
            raise InvalidAsk(f"{file} cannot be read: it {advice}")
    start = content[:200]
    if len(start) >= 4 and not (any(start[::2]) and any(start[1::2])):
        raise InvalidAsk(f"{file} cannot be read: it is UTF-16 or binary: save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidAsk(f"{file} cannot be read: {error}; save it as UTF-8") from error


def _jsonl(text: str) -> Iterator[LocatedRow]:
    """One object a line; one JSON document if the first line is no object."""
    # Not splitlines: JSON strings may contain Unicode line separators.
    lines = [(n, line.strip("\ufeff\r")) for n, line in enumerate(text.split("\n"), 1)]
    lines = [(number, line) for number, line in lines if line.strip()]
    if lines and isinstance(_row_in(lines[0][1]), str):
        try:
            whole = _parsed(text)
        except _NoJson:
            whole = None
        if isinstance(whole, (list, dict)):
            yield from _of_json(whole)
            return
    for number, line in lines:
        yield str(number), _row_in(line)


def _json(text: str) -> Iterator[LocatedRow]:
    """A list of rows or an object that holds one; JSON lines too, which often end in .json."""
    try:
        whole = _parsed(text)
    except _NoJson as error:
        if isinstance(_row_in(text.strip().partition("\n")[0]), str):
            yield "1", f"the file {error}"
        else:
            yield from _jsonl(text)
    else:
        yield from _of_json(whole)


def _of_json(document: Any) -> Iterator[LocatedRow]:
    rows = _list_in(document) if isinstance(document, dict) else document
    if not isinstance(rows, list):
        yield "1", "the file holds no list of examples, or several: save one list as JSON lines"
        return
    for number, row in enumerate(rows, 1):
        yield f"example {number}", _row(row)


def _list_in(document: dict[str, Any]) -> list[Any] | None:
    """The rows of an object: under a usual name, or its only list of objects."""
    lists = {name: value for name, value in document.items() if isinstance(value, list)}
    if usual := next((lists[name] for name in _LISTS if name in lists), None):
        return usual
    filled = [value for value in lists.values() if any(isinstance(item, dict) for item in value)]
    return filled[0] if len(filled) == 1 else None


def _row_in(line: str) -> Row | str:
    try:
        return _row(_parsed(line))
    except _NoJson as error:
        return f"it {error}"


def _row(parsed: Any) -> Row | str:
    """A row, or the reason that it is none. Data set servers wrap rows in `row`."""
    if not isinstance(parsed, dict):
        return "it is not a JSON object"
    wrapped = parsed.get("row") if "row_idx" in parsed else None
    row: dict[str, Any] = wrapped if isinstance(wrapped, dict) else parsed
    for candidate in (row, *row.values()):
        if isinstance(candidate, _Repeated):
            return f"it names {candidate.repeated!r} twice, with different values"
    return row


def _parsed(text: str) -> Any:
    try:
        return json.loads(text.lstrip("\ufeff"), object_pairs_hook=_object)
    except ValueError as error:
        raise _NoJson(f"is not JSON: {error}") from error
    except RecursionError as error:
        raise _NoJson("is nested too deeply") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    for name, value in pairs:
        if repr(members[name]) != repr(value):
            repeated = _Repeated(members)
            repeated.repeated = name
            return repeated
    return members


def _table(text: str, separator: str) -> Iterator[LocatedRow]:
    """Rows below the header, the first line that is not blank. Unnamed columns are dropped."""
    # Spreadsheets may begin with "sep=,".
    text = re.sub(r"\A(?:[ \t]*\r?\n)*sep=.\r?\n", "\n", text)
    spaced = re.search(rf"\A\s*[^\r\n]*{re.escape(separator)} ", text) is not None
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=spaced, strict=True
    )
    header: list[str] | None = None
    for place, cells in _records(reader):
        if isinstance(cells, str):
            if header is None:
                raise _WrongKind(f"has an unreadable header: {cells}")
            yield place, cells
        elif not any(cell.strip() for cell in cells):
            continue
        elif header is None:
            header = _header(cells, separator)
        else:
            yield place, _of_cells(header, cells)


def _records(reader: Any) -> Iterator[tuple[str, list[str] | str]]:
    """Each record's last line number, with its cells or the error."""
    before = 0
    while True:
        try:
            cells: list[str] | str = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            lines = reader.line_num - before
            lost = f"; lines {before + 1} to {reader.line_num} are lost" if lines > 1 else ""
            cells = f"it is not CSV: {error}{lost}"
        yield str(reader.line_num), cells
        before = reader.line_num


def _header(cells: list[str], separator: str) -> list[str]:
    names = [cell.strip() for cell in cells]
    others = [other for other in (*_SEPARATORS, ",") if other != separator and other in names[0]]
    if len(names) == 1 and others:
        words = _SEPARATORS.get(others[0], "commas")
        raise _WrongKind(
            f"cannot be read: its cells are separated by {words} ({others[0]!r}), those of a "
            f"{'.csv' if separator == ',' else '.tsv'} file by {separator!r}: convert it"
        )
    return names


def _of_cells(header: list[str], cells: list[str]) -> Row | str:
    if any(cell.strip() for cell in cells[len(header) :]):
        return "it has more cells than the header"
    row: dict[str, Any] = {}
    for name, cell in zip(header, cells, strict=False):
        if name and row.setdefault(name, Cell(cell)) != cell:
            return f"it has two cells {name!r} that differ: rename one column"
    return row


_csv, _tsv = partial(_table, separator=","), partial(_table, separator="\t")
READERS: Final[dict[str, Callable[[str], Iterator[LocatedRow]]]] = {
    ".jsonl": _jsonl, ".csv": _csv, ".json": _json, ".ndjson": _jsonl, ".tsv": _tsv
}  # fmt: skip
