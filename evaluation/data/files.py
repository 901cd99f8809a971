"""Reads the rows of a file or of a folder: JSON lines, JSON, and tables with commas or tabs.

A row that cannot be read is told with its place. A file that cannot be read at all, or whose
content is of another kind than its name says, raises InvalidAsk, which says what to do.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from colm.evaluation.data.values import Cell, Row
from colm.models.errors import InvalidAsk

#: Where a row is, and the row; or why there is none.
Found = tuple[str, Row | str]

#: First bytes of files that are no text, and what to do about each.
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
#: Where an object keeps its rows: BIG-Bench Hard's files, and others.
_LISTS: Final = ("examples", "data", "rows", "questions", "items", "instances")
_SEPARATORS: Final = {";": "semicolons", "\t": "tabs", "|": "bars"}

# A table's cells may be as long as a JSON text: the default bound is 131,072 characters.
csv.field_size_limit(2**31 - 1)


class _Repeated(dict[str, Any]):
    """An object of JSON that has two values under one name."""

    repeated = ""


def rows_of(path: Path) -> Iterator[Found]:
    """The rows of a file, or of a folder's files by name."""
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
                f"{file} ends with none of {', '.join(READERS)}: unpack it, or save it as one"
            )
        reader = READERS[file.suffix.lower()]
        text = _text_of(file)
        try:
            yield from ((f"{file.name}:{place}", row) for place, row in reader(text))
        except _WrongKind as error:
            raise InvalidAsk(f"{file} {error}") from error


class _WrongKind(ValueError):
    """The content of a file is of no kind that can be read."""


class _NoJson(ValueError):
    """Some text is no JSON."""


def _reads(file: Path) -> bool:
    return file.suffix.lower() in READERS


def _text_of(file: Path) -> str:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InvalidAsk(f"{file} cannot be read: {error}") from error
    for start, told in _BINARY:
        if content.startswith(start):
            raise InvalidAsk(f"{file} cannot be read: it {told}")
    start = content[:200]
    if len(start) >= 4 and not (any(start[::2]) and any(start[1::2])):
        raise InvalidAsk(f"{file} cannot be read: it is UTF-16, or no text: save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidAsk(f"{file} cannot be read: {error}; save it as UTF-8") from error


def _jsonl(text: str) -> Iterator[Found]:
    """One object a line; or all of it as one JSON, where its first line is none."""
    # Not splitlines: a text may hold line separators that JSON lets stand.
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


def _json(text: str) -> Iterator[Found]:
    """A list of rows, or an object with one; JSON lines too, for many call them so."""
    try:
        whole = _parsed(text)
    except _NoJson as error:
        if isinstance(_row_in(text.strip().partition("\n")[0]), str):
            yield "1", f"the file {error}"
        else:
            yield from _jsonl(text)
    else:
        yield from _of_json(whole)


def _of_json(found: Any) -> Iterator[Found]:
    rows = _list_in(found) if isinstance(found, dict) else found
    if not isinstance(rows, list):
        yield "1", "the file holds no list of examples, or several: save one as JSON lines"
        return
    for number, row in enumerate(rows, 1):
        yield f"example {number}", _row(row)


def _list_in(found: dict[str, Any]) -> list[Any] | None:
    """The rows that an object keeps: under one of the usual names, or in its only list of
    objects."""
    lists = {name: value for name, value in found.items() if isinstance(value, list)}
    if usual := next((lists[name] for name in _LISTS if name in lists), None):
        return usual
    filled = [value for value in lists.values() if any(isinstance(one, dict) for one in value)]
    return filled[0] if len(filled) == 1 else None


def _row_in(line: str) -> Row | str:
    try:
        return _row(_parsed(line))
    except _NoJson as error:
        return f"it {error}"


def _row(found: Any) -> Row | str:
    """A row, or why it is none. Servers of data sets wrap each row with its number."""
    if not isinstance(found, dict):
        return "it is no JSON object"
    wrapped = found.get("row") if "row_idx" in found else None
    row: dict[str, Any] = wrapped if isinstance(wrapped, dict) else found
    for one in (row, *row.values()):
        if isinstance(one, _Repeated):
            return f"it names {one.repeated!r} twice, with different values"
    return row


def _parsed(text: str) -> Any:
    try:
        return json.loads(text.lstrip("\ufeff"), object_pairs_hook=_object)
    except ValueError as error:
        raise _NoJson(f"is no JSON: {error}") from error
    except RecursionError as error:
        raise _NoJson("is nested too deeply") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    for name, value in pairs:
        if repr(found[name]) != repr(value):
            repeated = _Repeated(found)
            repeated.repeated = name
            return repeated
    return found


def _csv(text: str) -> Iterator[Found]:
    return _table(text, ",")


def _tsv(text: str) -> Iterator[Found]:
    return _table(text, "\t")


def _table(text: str, separator: str) -> Iterator[Found]:
    """One row each, below the first line that is not blank. Columns without a name, as of an
    index, hold nothing."""
    # "sep=," is what spreadsheets begin with.
    text = re.sub(r"\A(?:[ \t]*\r?\n)*sep=.\r?\n", "\n", text)
    spaced = re.search(rf"\A\s*[^\r\n]*{re.escape(separator)} ", text) is not None
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=spaced, strict=True
    )
    header: list[str] | None = None
    for place, cells in _records(reader):
        if isinstance(cells, str):
            if header is None:
                raise _WrongKind(f"has no header that can be read: {cells}")
            yield place, cells
        elif not any(cell.strip() for cell in cells):
            continue
        elif header is None:
            header = _header(cells, separator)
        else:
            yield place, _of_cells(header, cells)


def _records(reader: Any) -> Iterator[tuple[str, list[str] | str]]:
    """The line at which each record ends, and its cells; or why there are none."""
    before = 0
    while True:
        try:
            cells: list[str] | str = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            lines = reader.line_num - before
            lost = f"; lines {before + 1} to {reader.line_num} are lost" if lines > 1 else ""
            cells = f"it is no CSV: {error}{lost}"
        yield str(reader.line_num), cells
        before = reader.line_num


def _header(cells: list[str], separator: str) -> list[str]:
    names = [cell.strip() for cell in cells]
    others = [one for one in (*_SEPARATORS, ",") if one != separator and one in names[0]]
    if len(names) == 1 and others:
        told = _SEPARATORS.get(others[0], "commas")
        raise _WrongKind(
            f"cannot be read: {told} ({others[0]!r}) part its cells, where the separator of a "
            f"{'.csv' if separator == ',' else '.tsv'} is {separator!r}: save it with that"
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


READERS: Final = {".jsonl": _jsonl, ".csv": _csv, ".json": _json, ".ndjson": _jsonl, ".tsv": _tsv}
