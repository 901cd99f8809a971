"""Reads data sets: files, folders, data sets of the Hugging Face hub, generators of reasoning-gym.

A row that cannot be used is one recorded failure with its place and reason. A source that cannot be
read at all raises InvalidAsk, which says what to do. The order is the source's own; a folder's
files come by name.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from evaluation.examples import BadRow, Dataset, Example, distinct, identified
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
    images: str | None = None,
) -> Dataset:
    """The data set `source`: a .jsonl, .csv or .json file, a folder of them, hub:NAME or gym:NAME.

    `subset` and `split` are the hub's. `limit` and `seed` say how many a generator makes, and
    which; of other sources all is read. An example that repeats another one is a bad row.

    Images are named relative to the folder `images`; to the source itself where there is none. They
    are not looked at here: an example whose image is missing is asked, and fails, on its own.
    """
    if format != "auto" and format not in FORMATS:
        raise InvalidAsk(f"no format is called {format!r}{nearest(format, ['auto', *FORMATS])}")
    if source.startswith("gym:"):
        return _of_gym(source.removeprefix("gym:"), limit or GENERATED, seed)
    if source.startswith("hub:"):
        rows = _hub_rows(source.removeprefix("hub:"), subset, split)
    else:
        rows = _file_rows(Path(source))
    folder = Path(images) if images is not None else _folder_of(source)
    return _dataset(source, rows, format, columns or Columns(), folder)


def _folder_of(source: str) -> Path | None:
    if source.startswith("hub:"):
        return None
    return Path(source) if Path(source).is_dir() else Path(source).parent


def _dataset(
    name: str, rows: Iterator[Found], format: str, columns: Columns, folder: Path | None = None
) -> Dataset:
    examples: list[Example] = []
    places: dict[int, str] = {}
    bad: list[BadRow] = []
    for where, row in rows:
        try:
            example = _example(row, format, columns, folder)
        except UnusableRow as error:
            bad.append(BadRow(where=where, reason=str(error)))
        else:
            places[id(example)] = where
            examples.append(example)
    kept, repeated = distinct(examples)
    bad += [BadRow(where=places[id(e)], reason="it repeats an earlier row") for e in repeated]
    return Dataset(name=name, examples=tuple(kept), bad=tuple(bad))


def _example(row: Row | str, format: str, columns: Columns, folder: Path | None) -> Example:
    if isinstance(row, str):
        raise UnusableRow(row)
    read = FORMATS[recognise(row, columns) if format == "auto" else format]
    example = read(row, columns)
    if tests := _visible_tests(row.get(columns.visible_tests)):
        example = replace(example, visible_tests=tests)
    if names := _image_names(row.get(columns.images)):
        example = identified(replace(example, images=names))
        example = replace(example, images=tuple(_placed(name, folder) for name in names))
    return example


def _visible_tests(value: Any) -> str:
    """Python as the row has it: one text, or a list of them."""
    texts = value if isinstance(value, (list, tuple)) else [value or ""]
    if not all(isinstance(text, str) for text in texts):
        raise UnusableRow("visible_tests is no text, and no list of texts")
    return "\n".join(texts).strip()


def _image_names(value: Any) -> tuple[str, ...]:
    """As the source has them: one, or a list."""
    if value is None or value == "":
        return ()
    names = value if isinstance(value, (list, tuple)) else [value]
    if not all(isinstance(name, str) and name for name in names):
        raise UnusableRow("images is no path, and no list of paths")
    return tuple(names)


def _placed(name: str, folder: Path | None) -> str:
    """Where an image lies. The example's id does not depend on it."""
    if name.startswith(("sha256:", "http://", "https://")):
        return name
    if folder is None:
        raise UnusableRow(f"image {name!r} lies in no known folder: set data.images")
    return str(folder / name)


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
    # Not splitlines: a text may hold line separators that JSON lets stand.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield str(number), _json_row(line)


def _json_row(line: str) -> Row | str:
    try:
        row = json.loads(line)
    except ValueError as error:
        return f"it is no JSON: {error}"
    return row if isinstance(row, dict) else "it is no JSON object"


def _csv(text: str) -> Iterator[Found]:
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey="", strict=True)
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
        raise InvalidAsk(_missing("reasoning-gym", error, "generators")) from error
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


def _missing(package: str, error: ImportError, extra: str = "evaluation") -> str:
    return f"{package} is not installed ({error}): pip install 'colm[{extra}]'"
