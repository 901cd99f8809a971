r"""Finds the answer in what a model wrote. Pure, and light to import.

A thought (`models.thoughts`) is not an answer; where it was never closed there is none. Then the
first of these that is found counts, and the last of its kind where there are several:

1. `\boxed{...}`
2. what follows "answer is", "answer:" or "answer =", to the end of the sentence. Where that holds
   no number or letter, what was announced before it
3. the last line, where it begins with `####`
4. what the kind itself looks like: the last number; the last letter of a choice; what stands
   between the last dollar signs, or else the last number; the last line, where it is short

None says that nothing was found. That is counted apart from a wrong answer.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator

from models.thoughts import split_thought

#: The longest last line, in characters, that is taken for an answer that nothing announces.
MAX_LINE = 100
#: Announcements that are looked at, from the last.
MAX_ANNOUNCED = 8
#: Numbers as people write them: signs, thousands, decimals, fractions, powers of ten.
NUMBER = re.compile(
    r"(?<![\w.])[-+\u2212]?\s?(?:[$\u20ac\u00a3]\s?)?"
    r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+|\s?/\s?\d+(?![\d.]))?"
    r"|(?<![\w.])[-+\u2212]?\.\d+"
)

_ANNOUNCED = re.compile(
    r"\banswer\b(?:[^\n.:=]{0,40}?\b(?:is|would be|must be|should be)\b|\s*\**\s*[:=])"
    r"\s*\**\s*:?\s*(?=.)",
    re.I,
)
_HASHES = re.compile(r"[ \t]*####[ \t]*(.+)")
_SENTENCE_END = re.compile(r"(?<=[^\s.])\.(?=\s|$)|[!?](?=\s|$)|;(?=\s)")
_FORMULA = re.compile(r"\$\$(.+?)\$\$|\$([^$\n]+?)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.S)
_FORMULA_ALONE = re.compile(r"^[\s*]*(?:\$|\\\()\s*([^$\\]+?)\s*(?:\$|\\\))[\s*.]*$")
_COMMAND = re.compile(r"\\[a-zA-Z]+(?:\{[a-zA-Z ]*\})?")
_WORD = re.compile(r"[A-Za-z]{3,}")
_WORDS = re.compile(r"\\(?:text(?:bf|it|rm|tt)?|math(?:rm|bf|it)|mbox)\s*\{([^{}\\]*)\}")
_LABEL = re.compile(r"^[^\w\n]*(?:(?:the|my|final|correct)\s+)*answer\b[^\w\n]*[:=]", re.I | re.M)
#: The most words after a label that are the answer, whatever is announced after it.
MAX_LABELLED = 4
#: Characters of a sum after its first number; what it looks like, and what it comes to.
MAX_SUM = 200
_WORKED_OUT = re.compile(r"[^=(,;\d]{0,20}?[-+*/x\u00d7\u00f7\u2212][^=]*\d[^=]*=(?:.*=)?(.*)")
_WRAPPING = " \t\r\n*_`\"'"

_LETTER_FIRST = re.compile(r"\W*(?:(?:option|choice|answer)\b)?\W*([A-Ja-j])(?!\w|'\w)")
_LETTER_OR = re.compile(r"\W*\s(?:and|or|&)\s\W*([A-HJ])(?!\w|'\w)")
_LETTER_BEST = re.compile(
    r"\b([A-J])\)?\**\s+(?:is|would be|must be|seems)\s+(?:the\s+)?(?:only\s+|most\s+)?"
    r"(?:correct|right|best|likely|appropriate|accurate|answer)\b"
)
_LETTER_LABEL = re.compile(r"\W*([A-Ja-j])(?:[.):]|\W*$)")
_OPTION_LINE = re.compile(r"^[^\w\n]*([A-J])[.)]\s", re.M)
_NUMBERED = re.compile(r"\b(?:answer|option|choice)\s?#?([1-9])\b", re.I)
_LETTER_MARKED = re.compile(r"\(([A-Ja-j])\)")
_LETTER_ALONE = re.compile(r"(?<![\w'])([A-HJ])(?![\w'])(?!\s+[a-z])")


def answered_part(text: str) -> str | None:
    """`text` without its thought; None where the thought never ended."""
    thought, answer = split_thought(text)
    return None if thought and not answer.strip() else answer


def word_in(text: str) -> str | None:
    text = _WORDS.sub(r"\1", text)
    found = _labelled(text) or next(_announced(text), None)
    if found is None:
        lines = [line.strip(_WRAPPING) for line in text.splitlines()]
        last = next((line for line in reversed(lines) if line), "")
        found = last if len(last) <= MAX_LINE else None
    return _tidy(found and _FORMULA_ALONE.sub(r"\1", found))


def number_in(text: str) -> str | None:
    for found in _announced(text):
        if number := _number_of(_bare(found)):
            return number
    numbers = NUMBER.findall(_bare(text))
    return numbers[-1].strip() if numbers else None


def letter_in(text: str) -> str | None:
    """A capital letter; "answer 2" and "option 2" are B. To repeat the options is no answer, and
    neither is to name two."""
    text = _WORDS.sub(r"\1", text)
    for found in _announced(text):
        first = _LETTER_FIRST.match(found)
        other = _LETTER_OR.match(found, first.end()) if first else None
        if first and other and other[1] != first[1]:
            return None
        if first and not _is_a_word(first[1], found[first.end() :]):
            return first[1].upper()
        if marked := _LETTER_MARKED.findall(found):
            return str(marked[-1]).upper()
    return _unannounced_letter(text)


def _unannounced_letter(text: str) -> str | None:
    if best := _LETTER_BEST.findall(text):
        return str(best[-1])
    if len(set(_OPTION_LINE.findall(text))) > 1:
        text = _OPTION_LINE.sub(" ", text)
    if label := _LETTER_LABEL.match(text.strip()):
        return label[1].upper()
    if numbered := _NUMBERED.findall(text):
        return "ABCDEFGHI"[int(numbered[-1]) - 1]
    letters = _LETTER_MARKED.findall(text) or _LETTER_ALONE.findall(text)
    return letters[-1].upper() if letters else None


def formula_in(text: str) -> str | None:
    """LaTeX, or a plain expression or number."""
    found = next(_announced(text), None)
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


def _announced(text: str) -> Iterator[str]:
    """What is announced as the answer: boxed; after words that say so, the last of them first;
    after hashes."""
    if (boxed := _last_boxed(text)) is not None:
        yield boxed
        return
    announced = deque(_ANNOUNCED.finditer(text), maxlen=MAX_ANNOUNCED)
    for found in reversed(announced):
        yield _sentence(text[found.end() :])
    last = text.rstrip().rpartition("\n")[2]
    if not announced and (hashes := _HASHES.match(last)):
        yield hashes[1]


def _sentence(text: str) -> str:
    """The first of `text`, of its first line."""
    return _SENTENCE_END.split(text.partition("\n")[0], maxsplit=1)[0]


def _labelled(text: str) -> str | None:
    """A few words after the last "Answer:" that begins a line: reasons may follow it."""
    if _last_boxed(text) is not None or not (labels := list(_LABEL.finditer(text))):
        return None
    found = _sentence(text[labels[-1].end() :].strip(_WRAPPING))
    return found if 0 < len(found.split()) <= MAX_LABELLED else None


def _number_of(text: str) -> str | None:
    """The first number; of a sum that is worked out, as "5 + 3 = 8", what it comes to."""
    first = NUMBER.search(text)
    if first is None:
        return None
    worked = _WORKED_OUT.match(text, first.end(), first.end() + MAX_SUM)
    result = NUMBER.search(worked[1]) if worked else None
    return (result or first)[0].strip()


def _last_boxed(text: str) -> str | None:
    """What stands between the braces, which may hold others; None where they never close."""
    start = max(text.rfind(r"\boxed{"), text.rfind(r"\fbox{"))
    if start < 0:
        return None
    start = text.index("{", start) + 1
    depth = 1
    for end in range(start, len(text)):
        depth += (text[end] == "{") - (text[end] == "}")
        if not depth:
            return text[start:end]
    return None


def _is_a_word(letter: str, rest: str) -> bool:
    """Whether it is the "a" of "a cat" or the "i" of "i think", and no letter of a choice."""
    return (letter.islower() or letter in "AI") and re.match(r"\s+[a-z]", rest) is not None


def _is_formula(text: str) -> bool:
    """Whether it has no words in it, which stand between two prices ("$5 and then $6")."""
    return not _WORD.search(_COMMAND.sub(" ", text))


def _bare(text: str) -> str:
    """Without LaTeX around numbers: `\\$1{,}234` and `\\frac{1}{2}` as `$1,234` and `1/2`."""
    text = re.sub(r"\\[dt]?frac\{(\d+)\}\{(\d+)\}", r"\1/\2", text)
    return text.replace("{,}", ",").replace("\\,", "").replace("\\", "").replace("**", "")


def _tidy(found: str | None) -> str | None:
    if found is None:
        return None
    return found.strip(_WRAPPING).rstrip(".,;:").strip(_WRAPPING) or None
