r"""Extraction of the answer from a model's text. Pure, and fast to import.

Thoughts (`colm.models.answers.thoughts`) are not searched. In this order, the last of each sort:

1. the rest of a line that begins with `####`
2. an announcement (`colm.models.answers.announcements`): `\boxed{...}`, `<answer>` tags, a field
   "answer", "answer:", "answer is"; one without an answer ("the answer is based on ...") only if
   no other has one
3. the form of the kind: the last number; the last letter or the words of one option
   (`colm.models.answers.options`); the last formula between dollar signs; a short last line

A question that the model generates after its answer, and all text after that, is ignored. None is
an unparsable answer, which is counted apart from wrong answers.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from colm.models.answers.announcements import (
    Announcement,
    cut_run_on,
    find_announcements,
    hash_line_answer,
)
from colm.models.answers.characters import DASHES, composed
from colm.models.answers.numerals import (
    NUMBER,
    OPAQUE_IN,
    is_subexpression,
    matched_number,
    numbers_in,
    strip_markup,
)
from colm.models.answers.thoughts import split_thought

#: Characters of a last line that counts as an answer without an announcement.
MAX_LINE: Final = 100
#: Words after "answer is" that take precedence over an "Answer:" line.
MAX_LABELLED: Final = 4
#: Words beside a number on a `####` line.
MAX_UNITS: Final = 3
#: Characters of an arithmetic expression after its first number.
MAX_SUM: Final = 200

_WORKED_OUT = re.compile(
    r"[^=(,;\d]{0,20}?[-+*/x\u00d7\u00f7\u2212\u00b7][^=]*\d[^=]*=(?:.*=)?(.*)"
)
_RESULT = re.compile(r"[^=(,;\d]{0,20}?=(?:.*=)?(.*)")
#: A formula between dollar signs or LaTeX delimiters.
_FORMULA = re.compile(
    r"\$\$(.{1,2000}?)\$\$|\$([^$\n]{1,2000}?)\$"
    r"|\\\(((?:(?!\\\().){1,2000}?)\\\)|\\\[((?:(?!\\\[).){1,2000}?)\\\]",
    re.S,
)
_FORMULA_ALONE = re.compile(r"^[\s*]*(?:\$|\\\()\s*([^$\\]+?)\s*(?:\$|\\\))[\s*.]*$")
_COMMAND = re.compile(r"\\[a-zA-Z]+(?:\{[a-zA-Z ]*\})?")
_WORD = re.compile(r"[^\W\d_]{3,}")
_WORDS = re.compile(r"\\(?:text(?:bf|it|rm|tt)?|math(?:rm|bf|it)|mbox)\s*\{([^{}\\]*)\}")
_WRAPPING = " \t\r\n*_`\"'"
#: Continuations that describe the answer instead of giving it.
_ABOUT = re.compile(
    r"\W*(?:(?:also|therefore|thus|then|clearly|simply|indeed)\W+)?(?:based|because|since|that|in|on"
    r"|from|by|what|which|how|why|not|as follows|given|found|derived|obtained|determined|calculated"
    r"|supported|justified|consistent|correct|right|wrong|incorrect|clear|obvious|simple|unclear"
    r"|ambiguous|expected|due|according|the same|the sum|the one|explained|shown|below|above"
    r"|here)(?!\w)",
    re.I,
)
_PARTED_SIGN = re.compile(rf"\A\s*[{DASHES}]\s(?=[$\u20ac\u00a3]?\d)")
#: Digits or signs that are no complete number.
_UNREAD = re.compile(rf"\d|{OPAQUE_IN.pattern}")
_LED_IN = re.compile(
    r"\A(?:therefore|thus|then|clearly|simply|indeed|definitely|probably|(?:most )?likely),?\s+"
    r"(?=\S)",
    re.I,
)
_COPULA = re.compile(r"(?:です|でした|である|となります|になります|だ|입니다|이다|이에요|예요)\Z")


def without_thought(text: str) -> str | None:
    """`text` without its thought; None if the thought is unclosed."""
    thought, answer = split_thought(text)
    return None if thought and not answer.strip() else answer


def extract_word(text: str) -> str | None:
    text = _WORDS.sub(r"\1", composed(text))
    text = cut_run_on(
        text, lambda head: bool(hash_line_answer(head, _is_last) or find_announcements(head))
    )
    answer = hash_line_answer(text, _is_last)
    if answer is None and (item := _best(find_announcements(text), _is_short)):
        answer = item.text if item.closed else _LED_IN.sub("", item.text)
    if answer is None:
        lines = [line.strip(_WRAPPING) for line in text.splitlines()]
        last = next((line for line in reversed(lines) if line), "")
        answer = last if len(last) <= MAX_LINE else None
    return _tidy(answer and _COPULA.sub("", _FORMULA_ALONE.sub(r"\1", answer)))


def extract_number(text: str) -> str | None:
    text = composed(text)
    text = cut_run_on(text, lambda head: _number_in(head) is not None)
    return _number_in(text)


def extract_formula(text: str) -> str | None:
    """The answer as LaTeX, plain expression, or number."""
    text = composed(text)
    text = cut_run_on(
        text,
        lambda head: bool(hash_line_answer(head, _is_formula_line) or find_announcements(head)),
    )
    answer = hash_line_answer(text, _is_formula_line)
    if answer is None and (item := _best(find_announcements(text), _shows_formula)):
        formula = _FORMULA.match(item.rest)
        answer = formula[0] if formula else item.text
    where = text if answer is None else answer
    formulas = [next(filter(None, groups)) for groups in _FORMULA.findall(where)]
    formulas = [formula for formula in formulas if _is_formula(formula)]
    if formulas:
        return _tidy(formulas[-1])
    if answer is not None and (_is_formula(answer) or not NUMBER.search(answer)):
        return _tidy(answer)
    return extract_number(where)


def extract_text(text: str) -> str | None:
    return " ".join(text.split()) or None


def _number_in(text: str) -> str | None:
    if value := hash_line_answer(text, _is_number_line):
        return _number_of(strip_markup(value))
    announcements = find_announcements(text)
    bared = [a._replace(text=_signed(strip_markup(a.text), text, a.start)) for a in announcements]
    best = _best((a for a in bared if _number_of(a.text)), _begins_with_number)
    if best:
        return _number_of(best.text)
    if announcements and _UNREAD.search(bared[-1].text):
        return _tidy(announcements[-1].text)
    last = deque(numbers_in(strip_markup(text)), maxlen=1)
    return matched_number(last[0]) if last else None


def _signed(number: str, text: str, start: int) -> str:
    """`number` with a detached minus sign attached; at the start of a line it is a bullet."""
    bullet = "\n" in text[max(0, start - 4) : start]
    return number if bullet else _PARTED_SIGN.sub("-", number)


def _best(
    announcements: Iterable[Announcement], is_direct: Callable[[Announcement], bool]
) -> Announcement | None:
    """The last direct announcement, else the last firm one, else the last one."""
    best, highest = None, (False, False)
    for item in announcements:
        direct = is_direct(item)
        if (rank := (direct, direct or item.firm)) >= highest:
            best, highest = item, rank
    return best


def _is_short(item: Announcement) -> bool:
    """Whether it is a word or name, not a description of the answer."""
    few = len(item.text.split()) <= MAX_LABELLED
    return item.closed or (few and (item.firm or not _ABOUT.match(item.text)))


def _begins_with_number(item: Announcement) -> bool:
    first = next(numbers_in(item.text), None)
    soon = first is not None and len(item.text[: first.start()].split()) <= MAX_LABELLED
    return item.closed or (soon and (item.firm or not _ABOUT.match(item.text)))


def _shows_formula(item: Announcement) -> bool:
    if item.closed or _FORMULA.search(item.text) or _is_formula(item.text):
        return True
    return _begins_with_number(item._replace(text=strip_markup(item.text)))


def _is_last(_line: str, last: bool) -> bool:
    """For words, earlier lines that begin with hashes are headings."""
    return last


def _is_number_line(line: str, last: bool) -> bool:
    """Whether it is a number with a unit at most; "1. Add them" and "Step 2" are headings."""
    line = strip_markup(line).strip(_WRAPPING)
    number = NUMBER.search(line) if last else NUMBER.match(line)
    if number is None or last:
        return number is not None
    after = line[number.end() :]
    listed = re.match(r"\s?[.):]\s*\S", after) or re.search(r"\s[A-Z][a-z]", after)
    return not listed and len(after.split()) <= MAX_UNITS


def _is_formula_line(line: str, last: bool) -> bool:
    return last or _is_number_line(line, last) or (_is_formula(line) and not line[0].isalpha())


def _number_of(text: str) -> str | None:
    """The first number, or the result of a calculation ("5 + 3 = 8"); None if the number is part of
    an opaque expression."""
    first = next(numbers_in(text), None)
    if first is None:
        return None
    sums = _RESULT if first["below"] or first["power"] else _WORKED_OUT
    worked = sums.match(text, first.end(), first.end() + MAX_SUM)
    result = next(numbers_in(worked[1]), None) if worked else None
    if result is not None:
        return matched_number(result)
    return None if is_subexpression(first) else matched_number(first)


def _is_formula(text: str) -> bool:
    """Whether it has no words, unlike the text between two prices ("$5 and then $6")."""
    return not _WORD.search(_COMMAND.sub(" ", text))


def _tidy(text: str | None) -> str | None:
    if text is None:
        return None
    return (
        text.strip(_WRAPPING).rstrip(".,;:\u3002\uff0c\uff1b\uff1a\u3001").strip(_WRAPPING) or None
    )
