"""Options of a multiple-choice row in any of the usual forms, and the letters of the right ones.

Pure. Options that would not all be shown, and answers that name none, raise UnusableRow: the
question would be graded wrong whatever the answer.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from colm.evaluation.data.values import Row, UnusableRow, as_text, parse_list, value_of

LETTERS: Final = string.ascii_uppercase
#: The number of the first option is ambiguous.
UNCLEAR: Final = -1
#: Usual fields of the options, and of the right one.
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
#: Names of fields that seem to hold options, in lower case and without separators.
_SEEMS = re.compile(
    r"(?:answer|possible|multiple)?(?:choice|option|opt|candidate|alternative|ending|distract[eo]r)"
    r"s?(?:[a-j]|\d{1,2}|texts?|list|targets?)?"
    r"|op[a-j]|sol\d|ans(?:wer)?[a-j\d]|(?:possible|incorrect|wrong|false)answers?\d?"
    r"|mc\d?targets?|targetscores"
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ChoiceOptions:
    """The options of a question, in order."""

    texts: tuple[str, ...]
    #: Labels in the source; empty if it has none.
    labels: tuple[str, ...] = ()
    #: Whether the options are numbers in the source.
    numbers: bool = False

    def __post_init__(self) -> None:
        if not 2 <= len(self.texts) <= len(LETTERS):
            most = len(LETTERS)
            raise UnusableRow(f"it has {len(self.texts)} choices; 2 to {most} can have letters")


def options_of(
    row: Row, named: str | Sequence[str] | None, read: Sequence[str] = ()
) -> ChoiceOptions | None:
    """The row's options; None if it has none.

    `named`: the field with all options, or the fields with one each; "": none. Without it the usual
    fields are searched, and a field not in `read` that seems to hold options raises UnusableRow.
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


def _looked_for(row: Row, read: Sequence[str]) -> ChoiceOptions | None:
    holding = [name for name in FIELDS if not _is_empty(value_of(row, name))]
    if len(holding) > 1:
        raise UnusableRow(f"{' and '.join(holding)} both hold options: set data.choices to one")
    if holding:
        return _read(value_of(row, holding[0]), holding[0])
    if not _is_empty(value_of(row, "A")) and not _is_empty(value_of(row, "B")):
        return _apart(row, [letter for letter in LETTERS if letter in row])
    refuse_unread(row, read)
    return None


def refuse_unread(row: Row, read: Sequence[str] = ()) -> None:
    """Raise UnusableRow if a field not in `read` seems to hold options."""
    seeming = [name for name in map(str, row) if name not in read and _seems_to_hold(row, name)]
    if seeming:
        raise UnusableRow(
            f"{', '.join(map(repr, seeming))}: these fields seem to hold options;"
            " set data.choices to the fields of the options, or to '' if there are none"
        )


def _seems_to_hold(row: Row, name: str) -> bool:
    if not _is_seeming(name):
        return False
    value = value_of(row, name)
    return not isinstance(value, bool) and not _is_empty(value)


@lru_cache(maxsize=1_024)
def _is_seeming(name: str) -> bool:
    return _SEEMS.fullmatch(re.sub(r"[\W_]", "", name).lower()) is not None


def _is_empty(value: Any) -> bool:
    """Whether the value is empty, or an object of empty values as in padded sources."""
    if isinstance(value, Mapping):
        return all(map(_is_empty, value.values()))
    return value in (None, "", [], (), "[]", "{}")


def _required(row: Row, name: str) -> Any:
    value = value_of(row, name)
    if _is_empty(value):
        raise UnusableRow(f"no options in {name!r}; it has {', '.join(map(str, row)) or 'none'}")
    return value


def _apart(row: Row, names: Sequence[str]) -> ChoiceOptions:
    """Options with a field each. The last may be missing, as in padded tables."""
    values = _unpadded([value_of(row, name) for name in names])
    ends = [name[-1:] for name in map(str, names[: len(values)])]
    labels = ends if len(set(ends)) == len(ends) and all(map(_is_label, ends)) else []
    return _made(values, labels, ", ".join(names))


def _read(value: Any, name: str) -> ChoiceOptions:
    if isinstance(value, str):
        value = options_in(value) or parse_list(value)
    if isinstance(value, ChoiceOptions):
        return value
    if isinstance(value, Mapping):
        return _of_object(value, name)
    if not isinstance(value, (list, tuple)):
        raise UnusableRow(f"{name!r} is not a list of options: {str(value)[:60]!r}")
    if value and all(isinstance(item, Mapping) for item in value):
        texts = [_under(item, _TEXT_KEYS) for item in value]
        labels = [_under(item, _LABEL_KEYS) for item in value]
        return _made(texts, [] if None in labels else labels, name)
    return _made(value, [], name)


def _of_object(value: Mapping[Any, Any], name: str) -> ChoiceOptions:
    """Options of `{"text": [...], "label": [...]}` or `{label: text, ...}`."""
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


def _made(values: Sequence[Any], labels: Sequence[Any], name: str) -> ChoiceOptions:
    texts = [as_text(item, name).strip() for item in values]
    if labels and len(labels) < len(texts):
        raise UnusableRow(f"{name!r} has {len(texts)} options and {len(labels)} labels")
    parts = [_LABELLED.match(item) for item in texts]
    own = [part[1] for part in parts if part]
    if own and own == list(LETTERS[: len(texts)]):  # "A) red": the letter is shown once
        texts = [part[2].strip() for part in parts if part]
        labels = labels or own
    return ChoiceOptions(
        texts=tuple(texts),
        labels=tuple(_bare(str(item)) for item in labels[: len(texts)]),
        numbers=not any(isinstance(item, str) for item in values),
    )


def _is_label(label: str) -> bool:
    return _LABEL.fullmatch(label.strip()) is not None


def _bare(label: str) -> str:
    """A label without brackets and prefix: "(A)", "A." and "option_a" become A or a."""
    return re.sub(r"^(?:option|choice|answer)[ _]?(?=\w$)", "", label.strip(" ().:*"), flags=re.I)


def options_in(question: str) -> ChoiceOptions | None:
    """The options in a question's text, one a line, with letters from A on."""
    lines = [((m[1] or m[2]), m[3].strip()) for m in _OPTION_LINE.finditer(question)]
    if len(lines) < 2 or [letter for letter, _ in lines] != list(LETTERS[: len(lines)]):
        return None
    return ChoiceOptions(
        texts=tuple(t for _, t in lines), labels=tuple(letter for letter, _ in lines)
    )


def letter_of(answer: str) -> str | None:
    """The letter that an answer is, as in "B", "(B)" or "b."; None where it is none."""
    bare = _bare(answer).upper()
    return bare if len(bare) == 1 and bare in LETTERS else None


def letters_of(answer: Any, options: ChoiceOptions, first: int = 0) -> tuple[str, ...]:
    """The letters of the right options: by label, by number, by letter, or by their words.

    `first` is the number of the first option; where it is UNCLEAR, numbers are refused.
    """
    many = answer if isinstance(answer, (list, tuple)) else [answer]
    return tuple(
        dict.fromkeys(LETTERS[n] for value in many for n in _places(value, options, first))
    )


def number_in(answer: Any, options: ChoiceOptions) -> int | None:
    """The number by which an answer names an option; None if it does not."""
    if isinstance(answer, bool) or not isinstance(answer, (str, int, float)):
        return None
    text = _as_text(answer)
    if not _NUMBER.fullmatch(text) or any(label.isdigit() for label in options.labels):
        return None
    is_place = not isinstance(answer, str) and int(text) < len(options.texts)
    return int(text) if (is_place and not options.numbers) or not _worded(text, options) else None


def _places(answer: Any, options: ChoiceOptions, first: int) -> list[int]:
    text = _as_text(answer)
    if (by_label := _labelled(text, options)) is not None:
        return [by_label]
    number = number_in(answer, options)
    if number is not None:
        return [_numbered(number, options, first)]
    by_words = _worded(text, options)
    other = None if options.labels else _lettered(text, options)
    if options.numbers and not isinstance(answer, str) and int(answer) < len(options.texts):
        other = int(answer)
    if other is not None and by_words not in ([], [other]):
        raise UnusableRow(
            f"the answer {text!r} is the number or letter of one option and the text of another"
        )
    if by_words or other is not None:
        return by_words or [other or 0]
    raise _nothing(text, options)


def _as_text(answer: Any) -> str:
    """The answer as text. 2.0 becomes 2: tables with missing values turn integers to floats."""
    text = as_text(answer, "the answer").strip()
    return re.sub(r"(?<=\d)\.0+$", "", text)


def _labelled(text: str, options: ChoiceOptions) -> int | None:
    """The index of the option with this label, alone or before the option's text."""
    for candidate in (text, _bare(text), _bare(text).upper(), _bare(text).lower()):
        if candidate in options.labels:
            return options.labels.index(candidate)
    if part := _LABELLED.match(text):
        labels = options.labels or tuple(LETTERS[: len(options.texts)])
        place = labels.index(part[1]) if part[1] in labels else -1
        if place >= 0 and _plain(options.texts[place]) == _plain(part[2]):
            return place
    return None


def _worded(text: str, options: ChoiceOptions) -> list[int]:
    """The indices of the options with this text."""
    same = [n for n, option in enumerate(options.texts) if option == text]
    return same or [n for n, option in enumerate(options.texts) if _plain(option) == _plain(text)]


def _lettered(text: str, options: ChoiceOptions) -> int | None:
    letter = letter_of(text)
    place = LETTERS.index(letter) if letter else len(LETTERS)
    return place if place < len(options.texts) else None


def _numbered(number: int, options: ChoiceOptions, first: int) -> int:
    if first == UNCLEAR:
        raise UnusableRow(
            "its answer is the number of an option, and this source may count from 0 or 1:"
            " set data.first to the number of the first option"
        )
    if first <= number < first + len(options.texts):
        return number - first
    raise _nothing(str(number), options)


def _nothing(text: str, options: ChoiceOptions) -> UnusableRow:
    return UnusableRow(f"the answer {text[:60]!r} is none of the {len(options.texts)} choices")


def _plain(words: str) -> str:
    return " ".join(words.split()).rstrip(".").casefold()
