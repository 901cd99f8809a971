"""Reads data sets: files, folders, data sets of the Hugging Face hub, generators of reasoning-gym.

A row that cannot be used is one recorded failure with its place and reason. A source that cannot be
read at all raises InvalidAsk, which says what to do. The order is the source's own; a folder's
files come by name.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evaluation.examples import BadRow, Dataset, Example, distinct
from evaluation.formats import FORMATS, Columns, Row, UnusableRow, recognise
from models.errors import InvalidAsk
from models.roster import nearest

#: Where a row is, and the row; or why there is none.
Found = tuple[str, Row | str]

#: Examples that a generator makes where nobody says how many.
GENERATED = 500


def load(
    source: str,
    *,
    format: str = "auto",
    columns: Columns | None = None,
    subset: str | None = None,
    split: str | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Dataset:
    """The data set `source`: a .jsonl, .csv or .json file, a folder of them, hub:NAME or gym:NAME.

    `subset` and `split` are the hub's. `limit` and `seed` say how many a generator makes, and
    which; of other sources all is read. An example that repeats another one is a bad row.
    """
    if format != "auto" and format not in FORMATS:
        raise InvalidAsk(f"no format is called {format!r}{nearest(format, ['auto', *FORMATS])}")
    if source.startswith("gym:"):
        return _of_gym(source.removeprefix("gym:"), limit or GENERATED, seed)
    if source.startswith("hub:"):
        rows = _hub_rows(source.removeprefix("hub:"), subset, split)
    else:
        rows = _file_rows(Path(source))
    return _dataset(source, rows, format, columns or Columns())


def _dataset(name: str, rows: Iterator[Found], format: str, columns: Columns) -> Dataset:
    examples: list[Example] = []
    places: dict[int, str] = {}
    bad: list[BadRow] = []
    for where, row in rows:
        try:
            example = _example(row, format, columns)
        except UnusableRow as error:
            bad.append(BadRow(where=where, reason=str(error)))
        else:
            places[id(example)] = where
            examples.append(example)
    kept, repeated = distinct(examples)
    bad += [BadRow(where=places[id(e)], reason="it repeats an earlier row") for e in repeated]
    return Dataset(name=name, examples=tuple(kept), bad=tuple(bad))


def _example(row: Row | str, format: str, columns: Columns) -> Example:
    if isinstance(row, str):
        raise UnusableRow(row)
    read = FORMATS[recognise(row, columns) if format == "auto" else format]
    return read(row, columns)


def _file_rows(path: Path) -> Iterator[Found]:
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix in _READERS)
        if not files:
            raise InvalidAsk(f"the folder {path} holds no {', '.join(_READERS)} file")
    else:
        files = [path]
    for file in files:
        reader = _READERS.get(file.suffix)
        if reader is None:
            raise InvalidAsk(f"{file} ends with none of {', '.join(_READERS)}")
        try:
            text = file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidAsk(f"{file} cannot be read: {error}") from error
        yield from ((f"{file.name}:{place}", row) for place, row in reader(text))


def _jsonl(text: str) -> Iterator[Found]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield str(number), _json_row(line)


def _json_row(line: str) -> Row | str:
    try:
        row = json.loads(line)
    except ValueError as error:
        return f"it is no JSON: {error}"
    return row if isinstance(row, dict) else "it is no JSON object"


def _csv(text: str) -> Iterator[Found]:
    reader = csv.DictReader(text.splitlines(keepends=True), restkey="", strict=True)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield str(reader.line_num), f"it is no CSV: {error}"
            continue
        extra = row.pop("", None)
        yield str(reader.line_num), "it has more cells than the header" if extra else row


def _json(text: str) -> Iterator[Found]:
    """A list of rows, or an object with one under `examples`, as BIG-Bench Hard has it."""
    try:
        found = json.loads(text)
    except ValueError as error:
        yield "1", f"the file is no JSON: {error}"
        return
    rows = found.get("examples") if isinstance(found, dict) else found
    if not isinstance(rows, list):
        yield "1", "the file holds no list of examples"
        return
    for number, row in enumerate(rows, 1):
        usable = isinstance(row, dict)
        yield f"example {number}", row if usable else "it is no JSON object"


_READERS = {".jsonl": _jsonl, ".csv": _csv, ".json": _json}


def _hub_rows(name: str, subset: str | None, split: str | None) -> Iterator[Found]:
    try:
        import datasets
    except ImportError as error:
        raise InvalidAsk(_missing("datasets", error)) from error
    try:
        found = datasets.load_dataset(name, subset, split=split or "test")
    except Exception as error:  # the hub's own errors are many, and none is ours
        raise InvalidAsk(
            f"the data set {name!r} of the hub cannot be loaded ({type(error).__name__}: {error});"
            " where the hub cannot be reached, fetch it elsewhere and name the file"
        ) from error
    for number, row in enumerate(found, 1):
        yield f"row {number}", row


def _of_gym(name: str, size: int, seed: int) -> Dataset:
    """Generated questions. Their own scorers are not used: answers are compared as written."""
    try:
        import reasoning_gym
    except ImportError as error:
        raise InvalidAsk(_missing("reasoning-gym", error)) from error
    try:
        made: Any = reasoning_gym.create_dataset(name, size=size, seed=seed)
    except ValueError as error:
        known = sorted(reasoning_gym.factory.DATASETS)
        raise InvalidAsk(f"reasoning-gym has no {name!r}{nearest(name, known)}") from error
    rows = ((f"item {n}", _gym_row(made[n - 1])) for n in range(1, size + 1))
    return _dataset(f"gym:{name}", iter(rows), "plain", Columns())


def _gym_row(item: dict[str, Any]) -> Row | str:
    if item.get("answer") is None:
        return "it has no answer of its own"
    return {"question": item["question"], "answer": str(item["answer"])}


def _missing(package: str, error: ImportError) -> str:
    return f"{package} is not installed ({error}): pip install 'colm[evaluation]'"
