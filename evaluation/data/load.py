"""Reads data sets: files, folders, data sets of the Hugging Face hub, generators of reasoning-gym.

A row that cannot be used is one recorded failure with its place and reason. A source that cannot be
read at all raises InvalidAsk, which says what to do. The order is the source's own; a folder's
files come by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from colm.evaluation.data.examples import BadRow, Dataset, Example, distinct, identified
from colm.evaluation.data.files import Found, rows_of
from colm.evaluation.data.formats import FORMATS, Columns, number_of, recognise
from colm.evaluation.data.options import UNCLEAR
from colm.evaluation.data.values import Row, UnusableRow, code, given, listed
from colm.models.answers.program_tests import fault_of
from colm.models.errors import InvalidAsk
from colm.models.roster import nearest

#: Characters of a reason.
MAX_REASON = 500
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
        rows = rows_of(Path(source))
    folder = Path(images) if images is not None else _folder_of(source)
    return _dataset(source, rows, format, columns or Columns(), folder)


def _folder_of(source: str) -> Path | None:
    if source.startswith("hub:"):
        return None
    return Path(source) if Path(source).is_dir() else Path(source).parent


def _dataset(
    name: str, rows: Iterator[Found], format: str, columns: Columns, folder: Path | None = None
) -> Dataset:
    found = list(rows)
    columns = _counting(found, columns)
    examples: list[Example] = []
    places: dict[int, str] = {}
    bad: list[BadRow] = []
    seen: set[str] = set()
    for where, row in found:
        try:
            row = row if isinstance(row, str) else _Seen(row, seen)
            example = _example(row, format, columns, folder)
        except UnusableRow as error:
            bad.append(_bad(where, str(error)))
        else:
            places[id(example)] = where
            examples.append(example)
    kept, repeated = distinct(examples)
    bad += [_bad(places[id(e)], "it repeats an earlier row") for e in repeated]
    fields = dict.fromkeys(name for _, row in found if not isinstance(row, str) for name in row)
    unread = tuple(name for name in fields if name not in seen)
    return Dataset(name=name, examples=tuple(kept), bad=tuple(bad), unread=unread)


class _Seen(Mapping[str, Any]):
    """A row that notes which of its fields are looked at."""

    def __init__(self, row: Row, seen: set[str]) -> None:
        self._row, self._seen = row, seen

    def __getitem__(self, name: str) -> Any:
        self._seen.add(name)
        return self._row[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._row)

    def __len__(self) -> int:
        return len(self._row)

    def __contains__(self, name: object) -> bool:
        return name in self._row


def _bad(where: str, reason: str) -> BadRow:
    """What is told of a row can be stored and printed, whatever the row holds."""
    if len(reason) > MAX_REASON:
        reason = reason[:MAX_REASON] + "..."
    told = (text.encode("utf-8", "backslashreplace").decode() for text in (where, reason))
    return BadRow(where=next(told), reason=next(told))


def _counting(found: Sequence[Found], columns: Columns) -> Columns:
    """Answers that are numbers of options count from 0. It is unclear where one is the number of
    options, as if counted from 1, and none is 0."""
    if columns.first is not None:
        return columns
    rows = (row for _, row in found if isinstance(row, Mapping))
    numbers = [number for row in rows if (number := number_of(row, columns))]
    from_one = any(number == most for number, most in numbers)
    unclear = from_one and all(number for number, _ in numbers)
    return replace(columns, first=UNCLEAR if unclear else 0)


def _example(row: Row | str, format: str, columns: Columns, folder: Path | None) -> Example:
    if isinstance(row, str):
        raise UnusableRow(row)
    read = FORMATS[recognise(row, columns) if format == "auto" else format]
    example = read(row, columns)
    if tests := code(given(row, columns.visible_tests), columns.visible_tests):
        if fault := fault_of(tests):
            raise UnusableRow(f"{columns.visible_tests}: {fault}")
        example = replace(example, visible_tests=tests)
    if names := _image_names(given(row, columns.images)):
        example = identified(replace(example, images=names))
        example = replace(example, images=tuple(_placed(name, folder) for name in names))
    return _storable(example)


def _storable(example: Example) -> Example:
    """Raises UnusableRow where a text is none: half of a character, as cut texts have it."""
    texts = (example.question, *example.references, *example.choices, example.tests)
    more = (example.visible_tests, example.cluster, *example.images)
    for text in (*texts, *more):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            half = f"U+{ord(text[error.start]):04X}"
            raise UnusableRow(f"it holds {half}, which is half of a character") from error
    return example


def _image_names(value: Any) -> tuple[str, ...]:
    """As the source has them: one, or a list, which a table writes as text."""
    if value is None or value == "":
        return ()
    if isinstance(value, str):
        value = listed(value)
    names = value if isinstance(value, (list, tuple)) else [value]
    if not all(isinstance(name, str) and name for name in names):
        raise UnusableRow("images is no path, and no list of paths")
    return tuple(map(str, names))


def _placed(name: str, folder: Path | None) -> str:
    """Where an image lies. The example's id does not depend on it."""
    if name.startswith(("sha256:", "http://", "https://")):
        return name
    if folder is None:
        raise UnusableRow(f"image {name!r} lies in no known folder: set data.images")
    return str(folder / name)


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
