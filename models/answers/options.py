"""Which option of a choice a text names: by its letter, or by its own words. Pure.

A letter counts where it can be an answer, and not in "vitamin C", "100°C" or "Group A". Words of an
option count as whole words, the longest option first. What is said not to be the answer, two
letters at once, a letter that no option has, and "I do not know" are no answer.
"""

from __future__ import annotations

import re
import string
from collections import deque
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from colm.models.answers.announcements import announced, hashed, without_run_on
from colm.models.answers.characters import ALNUM, JOINED, is_joined, plain
from colm.models.answers.denials import is_denied, refuses
from colm.models.answers.numerals import NUMBER, bare, number

LETTERS: Final = string.ascii_uppercase
#: Letters that an answer may have where the options are not known.
USUAL: Final = LETTERS[:10]

_IN_QUESTION = re.compile(r"^[ \t*]{0,8}\(?([A-Z])[.):][ \t]+(\S.*)$", re.M)


@lru_cache(maxsize=1_024)
def options_in(question: str) -> tuple[str, ...]:
    """The options that stand in a question, each on a line with its letter; the last such list."""
    found: list[str] = []
    for line in _IN_QUESTION.finditer(question):
        if line[1] == "A":
            found = []
        if line[1] == LETTERS[len(found) : len(found) + 1]:
            found.append(line[2].strip())
    return tuple(found) if len(found) > 1 else ()


class _Said(NamedTuple):
    """A letter at a place; None stands for what contradicts itself."""

    letter: str | None


class _Mention(NamedTuple):
    start: int
    end: int
    letter: str

    @property
    def length(self) -> int:
        return self.end - self.start


#: Mentions of options, and letters, that are looked at.
MOST: Final = 1_000
#: What an option looks like before its words are compared.
_TRIMMED = " \t\r\n.,;:!?*_\"'"
_SPACES = re.compile(r"[^\S\n]+")
_LINES = re.compile(r"(?: ?\n ?)+")
_CIRCLED = re.compile("[\u2460-\u2468]")
_MARKUP = re.compile(r"\*\*|__|`|\\[()\[\]]|\\?\$")
_TEXT = re.compile(r"\\(?:text(?:bf|it|rm)?|math(?:rm|bf)|mbox)\s?\{([^{}]*)\}")
_JOINED_BEFORE = re.compile(rf"{JOINED}\Z|{ALNUM}-\Z")
_JOINED_AFTER = re.compile(rf"{JOINED}|-{ALNUM}")
_IN_NUMBER_BEFORE = re.compile(r"[-/^.]\Z|\d[,:]? ?\Z")
_IN_NUMBER_AFTER = re.compile(r"[.,:/^]\d| ?/ ?\d| \d|\^")
_NO_ALONE = re.compile(r"\s*(?:$|[^\w\s'-])|\s+(?:because|since|as)\b")
_ARTICLES = re.compile(r"([\s\"'(\[*]*)(?:(?:the|an?|la|el|le|les|der|die|das)\s+)?", re.I)


def _folded(text: str) -> str:
    """As texts and options are compared, but for their case."""
    text = _CIRCLED.sub(lambda found: f" option {ord(found[0]) - 0x245F} ", text)
    return _LINES.sub("\n", _SPACES.sub(" ", _MARKUP.sub("", _TEXT.sub(r"\1", plain(text)))))


class Options:
    """The options of one question, prepared for reading."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.letters = LETTERS[: len(texts)] if texts else USUAL
        words = [_folded(text).strip(_TRIMMED) for text in texts[: len(LETTERS)]]
        self._values = [number(one) if NUMBER.fullmatch(bare(one)) else None for one in words]
        self._words = [
            (re.compile(r"\s+".join(map(re.escape, one.split())), re.I), letter)
            for one, letter in zip(words, LETTERS, strict=False)
            if one
        ]

    def mentions(self, text: str) -> list[_Mention]:
        """Every option whose words are in `text`, in order; of those that overlap the longest."""
        found = [
            _Mention(*m.span(), letter)
            for words, letter in self._words
            for m in words.finditer(text)
            if _is_whole(text, *m.span())
        ]
        kept: list[_Mention] = []
        for one in sorted(found, key=lambda m: (m.start, -m.end, m.letter)):
            while kept and kept[-1].end > one.start and kept[-1].length < one.length:
                kept.pop()
            if not kept or kept[-1].end <= one.start:
                kept.append(one)
        return kept

    def first(self, text: str) -> str | None:
        """The option that `text` begins with, after an article at most."""
        lead = _ARTICLES.match(text)
        for start in (lead.end(1), lead.end()) if lead else ():
            found = [
                _Mention(*m.span(), letter)
                for words, letter in self._words
                if (m := words.match(text, start)) and _is_whole(text, *m.span())
            ]
            if found:
                return max(found, key=lambda one: one.length).letter
        return None

    def masked(self, text: str) -> str:
        """`text` with the words of options made unreadable, so that no letter is found in them."""
        parts, end = [], 0
        for one in self.mentions(text):
            if one.length > 1:
                parts += [text[end : one.start], "\ufffc" * one.length]
                end = one.end
        return "".join([*parts, text[end:]])

    def by_value(self, text: str) -> str | None:
        """The option that is the number that `text` begins with, however it is written."""
        found = number(text)
        if found is None or None in self._values or not self._values:
            return None
        return LETTERS[self._values.index(found)] if found in self._values else None


@lru_cache(maxsize=4_096)
def _options(texts: tuple[str, ...]) -> Options:
    return Options(texts)


def _is_whole(text: str, start: int, end: int) -> bool:
    """Whether an option's words are whole there: no part of a word or a number, and no "no" of "no
    way to know"."""
    before, after = text[max(0, start - 3) : start], text[end : end + 3]
    first, last = text[start], text[end - 1]
    if is_joined(first) and _JOINED_BEFORE.search(before):
        return False
    if is_joined(last) and _JOINED_AFTER.match(after):
        return False
    if first.isdigit() and _IN_NUMBER_BEFORE.search(before):
        return False
    if last.isdigit() and _IN_NUMBER_AFTER.match(after):
        return False
    return text[start:end].casefold() != "no" or _NO_ALONE.match(text, end) is not None


#: Letters and words of options that may stand in a list with another.
_LETTER = re.compile(r"(?<!\w)[A-Z](?!\w)")

_LEAD = (
    r"(?i:[\s(\[\"'*:<>-]{0,12}(?:(?:the|most|likely|probably|clearly|definitely|therefore|thus|then"
    r"|la|el|le|die|der|das|o|a(?=\s+(?:letra|opção))|l')\s*){0,4}"
    r"(?:(?:option|choice|answer|letter|alternative|opción|opção|letra|réponse|buchstabe|вариант"
    r"|选项|選項|選択肢|보기|选|選|第)\s*(?:is\s+|[#:(\[]\s*)?)?[\s(\[\"'*]{0,12})"
)
#: What may follow a letter that is an answer.
_LETTER_ENDS = (
    rf"(?!{JOINED}|[+#°]|-{ALNUM}|/[a-z]|\.{ALNUM}|'(?:s|m|ll|d|ve|re|t)\b|\s?(?:°|\+\+))"
)
_FIRST = re.compile(rf"{_LEAD}(?<!{JOINED})([A-Za-z]){_LETTER_ENDS}")
_SECOND = re.compile(
    r"[)\]\"'*.]*\s*(?:,|/|&|\+|and|or|und|oder|y|o|et|ou|и|или|と|、|和|或|及|및|또는)\s*"
    rf"(?:(?:and|or)\s+)?[(\[\"'*]*(?:option\s+)?(?!I\s+[a-z])([A-Z]){_LETTER_ENDS}"
    r"(?!\s+(?:is|are|was|seems|has|does|do|can|would|will)\b)"
)
#: A letter to which another one is added.
_BEFORE = re.compile(
    r"(?<!\w)([A-Z])[)\]\"'*]{0,3}\s?"
    r"(?:,|/|&|\+|(?<=\W)(?:and|or|und|oder|y|o|et|ou|и|или)|と|、|和|或|及)"
    r"\s?(?:option\s)?[(\[\"'*]{0,3}\Z"
)
_BOUND = (
    "because|since|as|which|with|due|for|if|when|that|is|by|and|but|seems|must|would|ist|est|es|è|-"
)
_ARTICLE = re.compile(rf"\s+(?!(?:{_BOUND})(?!{JOINED}))[a-z]")
_MARKED = re.compile(r"(?<!\w)[(\[]([A-Za-z])[)\]](?!\w)")
_BEST = re.compile(
    r"(?:^|[.,;:!?)\]*\n]|(?<!\w)(?:so|that|therefore|thus|hence|then|and|but|think|believe|option"
    r"|choice|answer|letter|because|since|means|is|be|say))[\s*\"']{0,4}(?:the\s+)?"
    r"(?:(?:option|choice|answer)\s+)?[(\[]?((?-i:[A-Z]))[)\]]?[.*\"']{0,4}\s+"
    r"(?:is|would be|must be|seems|looks)\s+(?:also\s+)?(?:the\s+)?(?:only\s+|most\s+)?"
    r"(?:correct|right|best|likely|appropriate|accurate|answer)(?!\w)",
    re.M | re.I,
)
_CHOSEN = re.compile(
    r"(?:best|correct|right|likely|appropriate|accurate|final)\s+"
    r"(?:(?:option|choice|answer|statement|one)\s+)?(?:is|would be|must be|seems)[\s:*\"']{0,4}"
    rf"(?:option\s+|choice\s+)?[(\[]?((?-i:[A-Z])){_LETTER_ENDS}"
    r"(?!\s+(?!(?:because|since|as)\b)(?-i:[a-z]))",
    re.I,
)
#: A letter, and after it what only an answer has.
_NAMED = re.compile(
    rf"(?<!{JOINED})([A-Z])[)\]]?\s?(?:选项|選項|项|項|번|(?:が|は)?(?:正解|正しい)|是?(?:正确|正確|对的))"
)
_IF = re.compile(r"\b(?:if|whether|why|unless)\s+(?:\w+\s+)?\Z", re.I)
_LABEL = re.compile(
    r"[^\w\n]*([A-Za-z])(?![+#])(?:[.):]|[^\w\n]*$|(\s?-\s|,\s|\s+(?:because|since|as)\b))", re.M
)
_OPTION_LINE = re.compile(r"^[^\w\n]*([A-Z])[.):]\s+(.*)$", re.M)
_NUMBERED = re.compile(r"\b(?:answer|option|choice)[ \t]?#?[ \t]?([1-9])\b", re.I)
_ALONE = re.compile(
    rf"(?:(?<!{JOINED})(?i:is|are|be|choose|chose|chosen|pick|picked|select|selected|say"
    r"|said|go with|going with|option|choice|answer|letter|therefore|thus|so|hence|but|it's|guess"
    r"|ist|es|est|è|é|это|вариант|antwort|réponse|respuesta|opción|risposta|resposta|ответ)"
    r"|[:=>]|[是选選择擇为為はが은는이가项項肢기])[\s,*\"']{0,4}"
    rf"(?:the\s+|option\s+)?([A-Z]){_LETTER_ENDS}"
    rf"(?!\s+(?!(?:{_BOUND}|over|here|instead|rather|or)(?!{JOINED}))[a-z]|\s+[A-Z]\w)"
)


def letter_in(text: str, choices: Sequence[str] = ()) -> str | None:
    """The letter of the option that `text` gives as its answer; `choices` are the options' words.

    "answer 2" and "option 2" are B. To repeat the options is no answer.
    """
    options = _options(tuple(choices))
    text = _folded(text)
    text = without_run_on(text, lambda head: _read(head, options).letter is not None)
    return _read(text, options).letter


def _read(text: str, options: Options) -> _Said:
    value = hashed(
        text,
        lambda line, last: (
            _begins(line, line, options) is not None if last else _only(line, options) is not None
        ),
    )
    if value is not None and (found := _begins(value, value, options)):
        return found
    heard = list(reversed(announced(text)))
    for one in heard:
        if found := _begins(one.text, one.rest, options):
            return found
    for one in heard:
        if found := _inside(one.text, options):
            return found
    return _unannounced(text, options)


def _only(line: str, options: Options) -> _Said | None:
    """A line that is a letter and nothing else."""
    found = _FIRST.match(line)
    if (
        found
        and not line[found.end() :].strip(_TRIMMED + ")]")
        and found[1].upper() in options.letters
    ):
        return _Said(found[1].upper())
    return None


def _begins(told: str, rest: str, options: Options) -> _Said | None:
    """The answer that an announcement begins with."""
    if alone := _only(told, options):
        return alone
    if mention := options.first(rest):
        return _Said(mention)
    found = _FIRST.match(told)
    if found is None or found[1].upper() not in options.letters:
        value = options.by_value(told) if NUMBER.match(bare(told.strip())) else None
        return _Said(value) if value else None
    letter, after = found[1], told[found.end() :]
    if (letter.islower() or letter in "AI") and _ARTICLE.match(after):
        return None
    other = _SECOND.match(after)
    if other and other[1] in options.letters and other[1] != letter.upper():
        return _Said(None)
    if is_denied(told, found.start(1), found.end(1), _LETTER):
        return None
    return _Said(letter.upper())


def _inside(told: str, options: Options) -> _Said | None:
    """The one option that an announcement names further on."""
    named = _named(told, options)
    if len(named) == 1:
        return _Said(named.pop())
    masked = options.masked(told)
    marked = _last(_MARKED.finditer(masked), masked, options)
    return _Said(marked[1].upper()) if marked else None


def _named(text: str, options: Options) -> set[str]:
    """The options whose words are in `text` and are not denied."""
    named: set[str] = set()
    for m in options.mentions(text)[:MOST]:
        if m.letter not in named and not is_denied(text, m.start, m.end, _LETTER):
            named.add(m.letter)
    return named


def _unannounced(text: str, options: Options) -> _Said:
    text = _without_list(text, options)
    masked = options.masked(text)
    for find in (_best, _last_line, _labelled, _numbered, _marked_or_alone):
        if found := find(masked, options):
            return found
    named = _named(text, options)
    certain = len(named) == 1 and not refuses(masked)
    return _Said(named.pop() if certain else None)


def _without_list(text: str, options: Options) -> str:
    """`text` without lines that only repeat the options."""
    lines = list(_OPTION_LINE.finditer(text))
    if len({line[1] for line in lines}) < 2:
        return text

    def shorn(line: re.Match[str]) -> str:
        named = options.mentions(line[2])
        repeated = named and named[0].start == 0 and not line[2][named[0].end :].strip(_TRIMMED)
        return "" if repeated else line[2]

    return _OPTION_LINE.sub(shorn, text)


def _last(found: Iterable[re.Match[str]], text: str, options: Options) -> re.Match[str] | None:
    """The last match whose letter is an option's and not denied."""
    for one in reversed(deque(found, maxlen=MOST)):
        if one[1].upper() in options.letters and not is_denied(
            text, one.start(1), one.end(1), _LETTER
        ):
            return one
    return None


def _best(text: str, options: Options) -> _Said | None:
    said = (m for one in (_BEST, _CHOSEN, _NAMED) for m in one.finditer(text))
    ordered = sorted(said, key=lambda m: m.start(1))
    meant = (m for m in ordered if not _IF.search(text, max(0, m.start(1) - 30), m.start(1)))
    found = _last(meant, text, options)
    return _Said(found[1]) if found else None


def _last_line(text: str, options: Options) -> _Said | None:
    lines = text.strip().splitlines()
    return _only(lines[-1], options) if lines else None


def _labelled(text: str, options: Options) -> _Said | None:
    text = text.strip()
    found = _LABEL.match(text)
    if found is None or found[1].upper() not in options.letters:
        return None
    if found[2] and (found[1].islower() or found[1] == "I"):
        return None
    other = _SECOND.match(text, found.end(1))
    if other and other[1] != found[1].upper():
        return _Said(None)
    denied = is_denied(text, found.start(1), found.end(1), _LETTER)
    return None if denied else _Said(found[1].upper())


def _numbered(text: str, options: Options) -> _Said | None:
    places = [int(n) - 1 for n in _NUMBERED.findall(text)]
    places = [place for place in places if place < len(options.letters)]
    return _Said(LETTERS[places[-1]]) if places else None


def _marked_or_alone(text: str, options: Options) -> _Said | None:
    if refuses(text):
        return None
    for pattern in (_MARKED, _ALONE):
        if found := _last(pattern.finditer(text), text, options):
            near = text[max(0, found.start(1) - 24) : found.start(1)]
            others = (_SECOND.match(text, found.end(1)), _BEFORE.search(near))
            several = {m[1] for m in others if m and m[1] in options.letters} - {found[1].upper()}
            return _Said(None if several else found[1].upper())
    return None
