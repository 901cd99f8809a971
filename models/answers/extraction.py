r"""Finds the answer in what a model wrote. Pure, and light to import.

A thought (`colm.models.answers.thoughts`) is not an answer; where it was never closed there is
none. Then the first of these that is found counts, and the last of its kind where there are
several:

1. the line that begins with `####`, up to its end; nothing after it
2. what is announced last: in `\boxed{...}`, in `<answer>` tags, in a field "answer", after
   "answer:", after "answer is" (`colm.models.answers.announcements`). One that
  goes on in other words ("the
   answer is based on ...") counts only where no other gives an answer
3. what the kind itself looks like: the last number; the last letter of a choice or the words of one
   option (`colm.models.answers.options`); what stands between the last dollar signs, or else the
   last number; the last line, where it is short

A question that the model asks itself after its answer, and all that follows, is left out. None says
that nothing was found. That is counted apart from a wrong answer.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from colm.models.answers.announcements import Announced, announced, hashed, without_run_on
from colm.models.answers.characters import DASHES, composed
from colm.models.answers.numerals import NUMBER as NUMBER
from colm.models.answers.numerals import OPAQUE_IN, bare, is_a_part, numbers_in, told
from colm.models.answers.thoughts import split_thought

#: The longest last line, in characters, that is taken for an answer that nothing announces.
MAX_LINE: Final = 100
#: The most words after "answer is" that are the answer though a line "Answer:" gives another.
MAX_LABELLED: Final = 4
#: The most words beside a number on a line that begins with `####`.
MAX_UNITS: Final = 3
#: Characters of a sum after its first number; what it looks like, and what it comes to.
MAX_SUM: Final = 200

_WORKED_OUT = re.compile(
    r"[^=(,;\d]{0,20}?[-+*/x\u00d7\u00f7\u2212\u00b7][^=]*\d[^=]*=(?:.*=)?(.*)"
)
_RESULT = re.compile(r"[^=(,;\d]{0,20}?=(?:.*=)?(.*)")
#: A formula between dollar signs, or as LaTeX has it: of at most 2,000 characters.
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
#: What an announcement goes on with where it says something of the answer and not the answer.
_ABOUT = re.compile(
    r"\W*(?:(?:also|therefore|thus|then|clearly|simply|indeed)\W+)?(?:based|because|since|that|in|on"
    r"|from|by|what|which|how|why|not|as follows|given|found|derived|obtained|determined|calculated"
    r"|supported|justified|consistent|correct|right|wrong|incorrect|clear|obvious|simple|unclear"
    r"|ambiguous|expected|due|according|the same|the sum|the one|explained|shown|below|above"
    r"|here)(?!\w)",
    re.I,
)
_PARTED_SIGN = re.compile(rf"\A\s*[{DASHES}]\s(?=[$\u20ac\u00a3]?\d)")
#: Digits, or signs, that a number could not be read from.
_UNREAD = re.compile(rf"\d|{OPAQUE_IN.pattern}")
_LED_IN = re.compile(
    r"\A(?:therefore|thus|then|clearly|simply|indeed|definitely|probably|(?:most )?likely),?\s+"
    r"(?=\S)",
    re.I,
)
_COPULA = re.compile(r"(?:です|でした|である|となります|になります|だ|입니다|이다|이에요|예요)\Z")


def answered_part(text: str) -> str | None:
    """`text` without its thought; None where the thought never ended."""
    thought, answer = split_thought(text)
    return None if thought and not answer.strip() else answer


def word_in(text: str) -> str | None:
    text = _WORDS.sub(r"\1", composed(text))
    text = without_run_on(text, lambda head: bool(hashed(head, _is_last) or announced(head)))
    found = hashed(text, _is_last)
    if found is None and (one := _best(announced(text), _is_short)):
        found = one.text if one.closed else _LED_IN.sub("", one.text)
    if found is None:
        lines = [line.strip(_WRAPPING) for line in text.splitlines()]
        last = next((line for line in reversed(lines) if line), "")
        found = last if len(last) <= MAX_LINE else None
    return _tidy(found and _COPULA.sub("", _FORMULA_ALONE.sub(r"\1", found)))


def number_in(text: str) -> str | None:
    text = composed(text)
    text = without_run_on(text, lambda head: _number_in(head) is not None)
    return _number_in(text)


def formula_in(text: str) -> str | None:
    """LaTeX, or a plain expression or number."""
    text = composed(text)
    text = without_run_on(
        text, lambda head: bool(hashed(head, _is_formula_line) or announced(head))
    )
    found = hashed(text, _is_formula_line)
    if found is None and (one := _best(announced(text), _shows_formula)):
        shown = _FORMULA.match(one.rest)
        found = shown[0] if shown else one.text
    where = text if found is None else found
    formulas = [next(filter(None, groups)) for groups in _FORMULA.findall(where)]
    formulas = [formula for formula in formulas if _is_formula(formula)]
    if formulas:
        return _tidy(formulas[-1])
    if found is not None and (_is_formula(found) or not NUMBER.search(found)):
        return _tidy(found)
    return number_in(where)


def all_in(text: str) -> str | None:
    """All of it, with white space made single."""
    return " ".join(text.split()) or None


def _number_in(text: str) -> str | None:
    if value := hashed(text, _is_number_line):
        return _number_of(bare(value))
    heard = announced(text)
    bared = [one._replace(text=_signed(bare(one.text), text, one.start)) for one in heard]
    best = _best((one for one in bared if _number_of(one.text)), _begins_with_number)
    if best:
        return _number_of(best.text)
    if heard and _UNREAD.search(bared[-1].text):
        return _tidy(heard[-1].text)
    last = deque(numbers_in(bare(text)), maxlen=1)
    return told(last[0]) if last else None


def _signed(said: str, text: str, start: int) -> str:
    """`said` with a minus sign that a space parts from it; on a line of its own it is a bullet."""
    bullet = "\n" in text[max(0, start - 4) : start]
    return said if bullet else _PARTED_SIGN.sub("-", said)


def _best(heard: Iterable[Announced], is_direct: Callable[[Announced], bool]) -> Announced | None:
    """The last that gives its answer at once; else the last firm one, else the last."""
    best, highest = None, (False, False)
    for one in heard:
        direct = is_direct(one)
        if (rank := (direct, direct or one.firm)) >= highest:
            best, highest = one, rank
    return best


def _is_short(one: Announced) -> bool:
    """Whether it is a word or a name, and does not only say something of the answer."""
    few = len(one.text.split()) <= MAX_LABELLED
    return one.closed or (few and (one.firm or not _ABOUT.match(one.text)))


def _begins_with_number(one: Announced) -> bool:
    first = next(numbers_in(one.text), None)
    soon = first is not None and len(one.text[: first.start()].split()) <= MAX_LABELLED
    return one.closed or (soon and (one.firm or not _ABOUT.match(one.text)))


def _shows_formula(one: Announced) -> bool:
    if one.closed or _FORMULA.search(one.text) or _is_formula(one.text):
        return True
    return _begins_with_number(one._replace(text=bare(one.text)))


def _is_last(_line: str, last: bool) -> bool:
    """Another line that begins with hashes is a heading, where answers are words."""
    return last


def _is_number_line(line: str, last: bool) -> bool:
    """Whether it is a number, and its unit at most; "1. Add them" and "Step 2" are headings."""
    line = bare(line).strip(_WRAPPING)
    found = NUMBER.search(line) if last else NUMBER.match(line)
    if found is None or last:
        return found is not None
    after = line[found.end() :]
    listed = re.match(r"\s?[.):]\s*\S", after) or re.search(r"\s[A-Z][a-z]", after)
    return not listed and len(after.split()) <= MAX_UNITS


def _is_formula_line(line: str, last: bool) -> bool:
    return last or _is_number_line(line, last) or (_is_formula(line) and not line[0].isalpha())


def _number_of(text: str) -> str | None:
    """The first number of a bare text; of a sum that is worked out, as "5 + 3 = 8", what it comes
    to; none where it is a part of an expression that no number can be read from."""
    first = next(numbers_in(text), None)
    if first is None:
        return None
    sums = _RESULT if first["below"] or first["power"] else _WORKED_OUT
    worked = sums.match(text, first.end(), first.end() + MAX_SUM)
    result = next(numbers_in(worked[1]), None) if worked else None
    if result is not None:
        return told(result)
    return None if is_a_part(first) else told(first)


def _is_formula(text: str) -> bool:
    """Whether it has no words in it, which stand between two prices ("$5 and then $6")."""
    return not _WORD.search(_COMMAND.sub(" ", text))


def _tidy(found: str | None) -> str | None:
    if found is None:
        return None
    return (
        found.strip(_WRAPPING).rstrip(".,;:\u3002\uff0c\uff1b\uff1a\u3001").strip(_WRAPPING) or None
    )
