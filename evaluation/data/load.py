"""Loading of data sets: files, folders, the Hugging Face hub, generators of reasoning-gym.

An unusable row becomes a BadRow with place and reason; an unusable source raises InvalidAsk. The
order is the source's; a folder's files come by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from colm.evaluation.data.examples import BadRow, Dataset, Example, distinct, with_id
from colm.evaluation.data.files import LocatedRow, rows_of
from colm.evaluation.data.formats import FORMATS, Columns, number_of, recognise
from colm.evaluation.data.options import UNCLEAR
from colm.evaluation.data.values import Row, UnusableRow, code, parse_list, value_of
from colm.models.answers.program_tests import fault_of
from colm.models.errors import InvalidAsk
from colm.models.roster import nearest

#: Characters of a reason.
MAX_REASON = 500
#: Examples of a generator without `limit`.
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

    `subset` and `split` are the hub's. `limit` and `seed` belong to generators; other sources are
    read whole. A repeated example is a bad row. Image paths are relative to `images`, or to the
    source. A missing image is no error here: its question fails later.
    """
    if format != "auto" and format not in FORMATS:
        raise InvalidAsk(f"no format is called {format!r}{nearest(format, ['auto', *FORMATS])}")
    if source.startswith("gym:"):
        return _of_gym(source.removeprefix("gym:"), limit or GENERATED, seed)
    if source.startswith("hub:"):
        rows = _hub_rows(source.removeprefix("hub:"), subset, split)
    else:
        rows = rows_of(Path(source))
    folder = Path(images) if images is not None else _folder_of(source)
    return _dataset(source, rows, format, columns or Columns(), folder)


def _folder_of(source: str) -> Path | None:
    if source.startswith("hub:"):
        return None
    return Path(source) if Path(source).is_dir() else Path(source).parent


def _dataset(
    name: str, rows: Iterator[LocatedRow], format: str, columns: Columns, folder: Path | None = None
) -> Dataset:
    located = list(rows)
    columns = _counting(located, columns)
    examples: list[Example] = []
    places: dict[int, str] = {}
    bad: list[BadRow] = []
    read_fields: set[str] = set()
    for where, row in located:
        try:
            row = row if isinstance(row, str) else _TrackedRow(row, read_fields)
            example = _example(row, format, columns, folder)
        except UnusableRow as error:
            bad.append(_bad(where, str(error)))
        else:
            places[id(example)] = where
            examples.append(example)
    unique, repeated = distinct(examples)
    bad += [_bad(places[id(e)], "it repeats an earlier row") for e in repeated]
    fields = dict.fromkeys(name for _, row in located if not isinstance(row, str) for name in row)
    unread = tuple(name for name in fields if name not in read_fields)
    return Dataset(name=name, examples=tuple(unique), bad=tuple(bad), unread=unread)


class _TrackedRow(Mapping[str, Any]):
    """A row that records which of its fields are read."""

    def __init__(self, row: Row, read_fields: set[str]) -> None:
        self._row, self._read_fields = row, read_fields

    def __getitem__(self, name: str) -> Any:
        self._read_fields.add(name)
        return self._row[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._row)

    def __len__(self) -> int:
        return len(self._row)

    def __contains__(self, name: object) -> bool:
        return name in self._row


def _bad(where: str, reason: str) -> BadRow:
    # Lone surrogates can be neither stored nor printed.
    if len(reason) > MAX_REASON:
        reason = reason[:MAX_REASON] + "..."
    texts = (text.encode("utf-8", "backslashreplace").decode() for text in (where, reason))
    return BadRow(where=next(texts), reason=next(texts))


def _counting(located: Sequence[LocatedRow], columns: Columns) -> Columns:
    """Set whether numeric answers count options from 0.

    UNCLEAR if one equals the number of options, as if counted from 1, and none is 0.
    """
    if columns.first is not None:
        return columns
    rows = (row for _, row in located if isinstance(row, Mapping))
    numbers = [number for row in rows if (number := number_of(row, columns))]
    from_one = any(number == most for number, most in numbers)
    unclear = from_one and all(number for number, _ in numbers)
    return replace(columns, first=UNCLEAR if unclear else 0)


def _example(row: Row | str, format: str, columns: Columns, folder: Path | None) -> Example:
    if isinstance(row, str):
        raise UnusableRow(row)
    read = FORMATS[recognise(row, columns) if format == "auto" else format]
    example = read(row, columns)
    if tests := code(value_of(row, columns.visible_tests), columns.visible_tests):
        if fault := fault_of(tests):
            raise UnusableRow(f"{columns.visible_tests}: {fault}")
        example = replace(example, visible_tests=tests)
    if names := _image_names(value_of(row, columns.images)):
        example = with_id(replace(example, images=names))
        example = replace(example, images=tuple(_placed(name, folder) for name in names))
    return _storable(example)


def _storable(example: Example) -> Example:
    """Raise UnusableRow for a text with a lone surrogate, as cut texts have it."""
    texts = (example.question, *example.references, *example.choices, example.tests)
    more = (example.visible_tests, example.cluster, *example.images)
    for text in (*texts, *more):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            half = f"U+{ord(text[error.start]):04X}"
            raise UnusableRow(f"it holds {half}, a lone surrogate: the text was cut") from error
    return example


def _image_names(value: Any) -> tuple[str, ...]:
    """The image names: one, a list, or the literal of a list."""
    if value is None or value == "":
        return ()
    if isinstance(value, str):
        value = parse_list(value)
    names = value if isinstance(value, (list, tuple)) else [value]
    if not all(isinstance(name, str) and name for name in names):
        raise UnusableRow("images is neither a path nor a list of paths")
    return tuple(map(str, names))


def _placed(name: str, folder: Path | None) -> str:
    """The path of an image; the example's id does not depend on it."""
    if name.startswith(("sha256:", "http://", "https://")):
        return name
    if folder is None:
        raise UnusableRow(f"the folder of image {name!r} is unknown: set data.images")
    return str(folder / name)


def _hub_rows(name: str, subset: str | None, split: str | None) -> Iterator[LocatedRow]:
    try:
        import datasets
    except ImportError as error:
        raise InvalidAsk(_missing("datasets", error)) from error
    try:
        rows = datasets.load_dataset(name, subset, split=split or "test")
    except Exception as error:  # the hub has many kinds of errors
        raise InvalidAsk(
            f"the data set {name!r} of the hub cannot be loaded ({type(error).__name__}: {error});"
            " without access to the hub, download it elsewhere and give its path"
        ) from error
    for number, row in enumerate(rows, 1):
        yield f"row {number}", row


def _of_gym(name: str, size: int, seed: int) -> Dataset:
    """Generated questions. Answers are compared with the references, not by the gym's scorers."""
    try:
        import reasoning_gym
    except ImportError as error:
        raise InvalidAsk(_missing("reasoning-gym", error, "generators")) from error
    try:
        made: Any = reasoning_gym.create_dataset(name, size=size, seed=seed)
    except ValueError as error:
        generators = sorted(reasoning_gym.factory.DATASETS)
        raise InvalidAsk(f"reasoning-gym has no {name!r}{nearest(name, generators)}") from error
    rows = ((f"item {n}", _gym_row(made[n - 1])) for n in range(1, size + 1))
    return _dataset(f"gym:{name}", iter(rows), "plain", Columns())


def _gym_row(item: dict[str, Any]) -> Row | str:
    if item.get("answer") is None:
        return "it has no answer"
    return {"question": item["question"], "answer": str(item["answer"])}


def _missing(package: str, error: ImportError, extra: str = "evaluation") -> str:
    return f"{package} is not installed ({error}): pip install 'colm[{extra}]'"
