"""The options of a row, however its source keeps them, and the letters of those that are right.

Pure. Options that cannot all be shown, or an answer that names none of them, are an UnusableRow:
a question that was asked without its options is graded wrong whatever the answer.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from colm.evaluation.data.values import Row, UnusableRow, given, listed, written

LETTERS: Final = string.ascii_uppercase
#: As the number of the first option: nobody can tell.
UNCLEAR: Final = -1
#: Fields that hold all options where nobody says which, and those that say which one is right.
FIELDS: Final = ("choices", "options")
PLACES: Final = ("answer_index", "answer_idx", "answerKey", "answer_key")
_TEXT_KEYS, _LABEL_KEYS = ("text", "content"), ("label", "labels", "key", "id")
_LABEL = re.compile(r"\(?(?:[A-Za-z]|\d{1,2})[.):]?|(?:option|choice|answer)[ _]?[A-Za-z0-9]", re.I)
#: "(A) red", "A. red", "A) red", "A: red".
_LABELLED = re.compile(r"\s*(?:[-*]\s+)?\(?([A-Z])[.):]\s*(\S.*)", re.S)
_OPTION_LINE = re.compile(
    r"^[ \t]*(?:[-*][ \t]+)?(?:\(([A-Z])\)|([A-Z])[.):](?=\s))[ \t]*(\S.*)$", re.M
)
_NUMBER = re.compile(r"\d{1,2}")
#: Names of fields that seem to hold options, in small letters and without what parts their words.
_SEEMS = re.compile(
    r"(?:answer|possible|multiple)?(?:choice|option|opt|candidate|alternative|ending|distract[eo]r)"
    r"s?(?:[a-j]|\d{1,2}|texts?|list|targets?)?"
    r"|op[a-j]|sol\d|ans(?:wer)?[a-j\d]|(?:possible|incorrect|wrong|false)answers?\d?"
    r"|mc\d?targets?|targetscores"
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a question may be answered with, in the order in which it is shown."""

    texts: tuple[str, ...]
    #: As the source names them; empty where it does not.
    labels: tuple[str, ...] = ()
    #: Whether the source has them as numbers, and not as texts.
    numbers: bool = False

    def __post_init__(self) -> None:
        if not 2 <= len(self.texts) <= len(LETTERS):
            most = len(LETTERS)
            raise UnusableRow(f"it has {len(self.texts)} choices; 2 to {most} can have letters")


def options_of(
    row: Row, named: str | Sequence[str] | None, read: Sequence[str] = ()
) -> Options | None:
    """The row's options; None where it has none.

    `named` is the field that holds them, or the fields that hold one each; "" says that none does.
    Without it they are looked for, and a field beside those `read` that only seems to hold some is
    refused.
    """
    if named == "" or named == ():
        return None
    if named is None:
        return _looked_for(row, read)
    if isinstance(named, str):
        return _read(_required(row, named), named)
    if len(named) == 1:
        return _read(_required(row, named[0]), named[0])
    return _apart(row, named)


def _looked_for(row: Row, read: Sequence[str]) -> Options | None:
    holding = [name for name in FIELDS if not _is_empty(given(row, name))]
    if len(holding) > 1:
        raise UnusableRow(f"{' and '.join(holding)} both hold options: set data.choices to one")
    if holding:
        return _read(given(row, holding[0]), holding[0])
    if not _is_empty(given(row, "A")) and not _is_empty(given(row, "B")):
        return _apart(row, [letter for letter in LETTERS if letter in row])
    refuse_unread(row, read)
    return None


def refuse_unread(row: Row, read: Sequence[str] = ()) -> None:
    """Raise UnusableRow where a field beside those `read` seems to hold options."""
    seeming = [name for name in map(str, row) if name not in read and _seems_to_hold(row, name)]
    if seeming:
        raise UnusableRow(
            f"{', '.join(map(repr, seeming))}: options, it seems, which would not be shown;"
            " set data.choices to the fields that hold them, or to '' where none does"
        )


def _seems_to_hold(row: Row, name: str) -> bool:
    if not _is_seeming(name):
        return False
    value = given(row, name)
    return not isinstance(value, bool) and not _is_empty(value)


@lru_cache(maxsize=1_024)
def _is_seeming(name: str) -> bool:
    return _SEEMS.fullmatch(re.sub(r"[\W_]", "", name).lower()) is not None


def _is_empty(value: Any) -> bool:
    """Nothing, or a list or an object of nothing, as sources have it whose other rows have more."""
    if isinstance(value, Mapping):
        return all(map(_is_empty, value.values()))
    return value in (None, "", [], (), "[]", "{}")


def _required(row: Row, name: str) -> Any:
    value = given(row, name)
    if _is_empty(value):
        raise UnusableRow(f"no options in {name!r}; it has {', '.join(map(str, row)) or 'none'}")
    return value


def _apart(row: Row, names: Sequence[str]) -> Options:
    """Options in fields of their own. The last may be missing, as where tables are padded."""
    values = _unpadded([given(row, name) for name in names])
    ends = [name[-1:] for name in map(str, names[: len(values)])]
    labels = ends if len(set(ends)) == len(ends) and all(map(_is_label, ends)) else []
    return _made(values, labels, ", ".join(names))


def _read(value: Any, name: str) -> Options:
    if isinstance(value, str):
        value = options_in(value) or listed(value)
    if isinstance(value, Options):
        return value
    if isinstance(value, Mapping):
        return _of_object(value, name)
    if not isinstance(value, (list, tuple)):
        raise UnusableRow(f"{name!r} is no list of options: {str(value)[:60]!r}")
    if value and all(isinstance(one, Mapping) for one in value):
        shown = [_under(one, _TEXT_KEYS) for one in value]
        labels = [_under(one, _LABEL_KEYS) for one in value]
        return _made(shown, [] if None in labels else labels, name)
    return _made(value, [], name)


def _of_object(value: Mapping[Any, Any], name: str) -> Options:
    """`{"text": [...], "label": [...]}`, or labels with a text each."""
    inner = _under(value, _TEXT_KEYS)
    if isinstance(inner, (list, tuple)):
        labels = _under(value, _LABEL_KEYS) or []
        return _made(inner, labels if isinstance(labels, (list, tuple)) else [labels], name)
    keys = [str(key) for key in value]
    if not all(map(_is_label, keys)):
        raise UnusableRow(f"{name!r} is an object with {', '.join(keys)[:60]}, not with labels")
    return _made(_unpadded(list(value.values())), keys, name)


def _under(value: Mapping[Any, Any], keys: Sequence[str]) -> Any:
    return next((value[key] for key in keys if key in value), None)


def _unpadded(values: list[Any]) -> list[Any]:
    while values and values[-1] in (None, ""):
        values = values[:-1]
    return values


def _made(values: Sequence[Any], labels: Sequence[Any], name: str) -> Options:
    shown = [written(one, name).strip() for one in values]
    if labels and len(labels) < len(shown):
        raise UnusableRow(f"{name!r} has {len(shown)} options and {len(labels)} labels")
    parts = [_LABELLED.match(one) for one in shown]
    own = [part[1] for part in parts if part]
    if own and own == list(LETTERS[: len(shown)]):  # "A) red": they are shown with letters once
        shown = [part[2].strip() for part in parts if part]
        labels = labels or own
    return Options(
        texts=tuple(shown),
        labels=tuple(_bare(str(one)) for one in labels[: len(shown)]),
        numbers=not any(isinstance(one, str) for one in values),
    )


def _is_label(label: str) -> bool:
    return _LABEL.fullmatch(label.strip()) is not None


def _bare(label: str) -> str:
    """A label without brackets and the word before it: "(A)", "A.", "option_a" are A or a."""
    return re.sub(r"^(?:option|choice|answer)[ _]?(?=\w$)", "", label.strip(" ().:*"), flags=re.I)


def options_in(question: str) -> Options | None:
    """The options that a question lists itself, each on a line with its letter, from A."""
    found = [((m[1] or m[2]), m[3].strip()) for m in _OPTION_LINE.finditer(question)]
    if len(found) < 2 or [letter for letter, _ in found] != list(LETTERS[: len(found)]):
        return None
    return Options(texts=tuple(t for _, t in found), labels=tuple(letter for letter, _ in found))


def letter_of(answer: str) -> str | None:
    """The letter that an answer is, as in "B", "(B)" or "b."; None where it is none."""
    bare = _bare(answer).upper()
    return bare if len(bare) == 1 and bare in LETTERS else None


def letters_of(answer: Any, options: Options, first: int = 0) -> tuple[str, ...]:
    """The letters of the right options: by label, by number, by letter, or by their words.

    `first` is the number of the first option; where it is UNCLEAR, numbers are refused.
    """
    many = answer if isinstance(answer, (list, tuple)) else [answer]
    return tuple(dict.fromkeys(LETTERS[n] for one in many for n in _places(one, options, first)))


def number_in(answer: Any, options: Options) -> int | None:
    """The number by which an answer names an option, or would; None where it goes by anything
    else."""
    if isinstance(answer, bool) or not isinstance(answer, (str, int, float)):
        return None
    told = _told(answer)
    if not _NUMBER.fullmatch(told) or any(label.isdigit() for label in options.labels):
        return None
    is_place = not isinstance(answer, str) and int(told) < len(options.texts)
    return int(told) if (is_place and not options.numbers) or not _worded(told, options) else None


def _places(answer: Any, options: Options, first: int) -> list[int]:
    told = _told(answer)
    if (by_label := _labelled(told, options)) is not None:
        return [by_label]
    number = number_in(answer, options)
    if number is not None:
        return [_numbered(number, options, first)]
    by_words = _worded(told, options)
    other = None if options.labels else _lettered(told, options)
    if options.numbers and not isinstance(answer, str) and int(answer) < len(options.texts):
        other = int(answer)
    if other is not None and by_words not in ([], [other]):
        raise UnusableRow(f"the answer {told!r} is the place of one option and the text of another")
    if by_words or other is not None:
        return by_words or [other or 0]
    raise _nothing(told, options)


def _told(answer: Any) -> str:
    """As text; 2.0 is 2, for tables make whole numbers fractions where another row has none."""
    told = written(answer, "the answer").strip()
    return re.sub(r"(?<=\d)\.0+$", "", told)


def _labelled(told: str, options: Options) -> int | None:
    """The place of the label that the answer is, or begins with before the option's own words."""
    for found in (told, _bare(told), _bare(told).upper(), _bare(told).lower()):
        if found in options.labels:
            return options.labels.index(found)
    if part := _LABELLED.match(told):
        labels = options.labels or tuple(LETTERS[: len(options.texts)])
        place = labels.index(part[1]) if part[1] in labels else -1
        if place >= 0 and _plain(options.texts[place]) == _plain(part[2]):
            return place
    return None


def _worded(told: str, options: Options) -> list[int]:
    """The places of the options with these words; several where the source has one twice."""
    same = [n for n, one in enumerate(options.texts) if one == told]
    return same or [n for n, one in enumerate(options.texts) if _plain(one) == _plain(told)]


def _lettered(told: str, options: Options) -> int | None:
    letter = letter_of(told)
    place = LETTERS.index(letter) if letter else len(LETTERS)
    return place if place < len(options.texts) else None


def _numbered(number: int, options: Options, first: int) -> int:
    if first == UNCLEAR:
        raise UnusableRow(
            "its answer is the number of an option, and numbers of this source may count from 0 or"
            " from 1: set data.first to the number of the first option"
        )
    if first <= number < first + len(options.texts):
        return number - first
    raise _nothing(str(number), options)


def _nothing(told: str, options: Options) -> UnusableRow:
    return UnusableRow(f"the answer {told[:60]!r} is none of the {len(options.texts)} choices")


def _plain(words: str) -> str:
    return " ".join(words.split()).rstrip(".").casefold()
