"""Extraction of the chosen option from a text, by its letter or its words. Pure.

Letters in "vitamin C", "100°C" or "Group A" do not count. Words of an option must match as whole
words; the longest option takes precedence. Negated options, two letters at once, letters without an
option, and "I do not know" are no answer.
"""

from __future__ import annotations

import re
import string
from collections import deque
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from colm.models.answers.announcements import cut_run_on, find_announcements, hash_line_answer
from colm.models.answers.characters import ALNUM, JOINED, is_word_character, plain
from colm.models.answers.denials import is_denied, is_refusal
from colm.models.answers.numerals import NUMBER, number, strip_markup

LETTERS: Final = string.ascii_uppercase
#: Possible letters if the options are not available.
USUAL: Final = LETTERS[:10]

_IN_QUESTION = re.compile(r"^[ \t*]{0,8}\(?([A-Z])[.):][ \t]+(\S.*)$", re.M)


@lru_cache(maxsize=1_024)
def parse_options(question: str) -> tuple[str, ...]:
    """The options of the last list in a question, each on a line with its letter."""
    options: list[str] = []
    for line in _IN_QUESTION.finditer(question):
        if line[1] == "A":
            options = []
        if line[1] == LETTERS[len(options) : len(options) + 1]:
            options.append(line[2].strip())
    return tuple(options) if len(options) > 1 else ()


class _Reading(NamedTuple):
    """A result: a letter, or None for a contradiction."""

    letter: str | None


class _Mention(NamedTuple):
    start: int
    end: int
    letter: str

    @property
    def length(self) -> int:
        return self.end - self.start


#: Mentions of options, and of letters, that are searched.
MAX_MENTIONS: Final = 1_000
#: Characters that are stripped from options.
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


def _fold(text: str) -> str:
    text = _CIRCLED.sub(lambda match: f" option {ord(match[0]) - 0x245F} ", text)
    return _LINES.sub("\n", _SPACES.sub(" ", _MARKUP.sub("", _TEXT.sub(r"\1", plain(text)))))


class Options:
    """The options of one question as patterns."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.letters = LETTERS[: len(texts)] if texts else USUAL
        words = [_fold(text).strip(_TRIMMED) for text in texts[: len(LETTERS)]]
        self._values = [
            number(option) if NUMBER.fullmatch(strip_markup(option)) else None for option in words
        ]
        self._words = [
            (re.compile(r"\s+".join(map(re.escape, option.split())), re.I), letter)
            for option, letter in zip(words, LETTERS, strict=False)
            if option
        ]

    def mentions(self, text: str) -> list[_Mention]:
        """Every option whose words are in `text`, in order; the longest of overlapping ones."""
        candidates = [
            _Mention(*m.span(), letter)
            for words, letter in self._words
            for m in words.finditer(text)
            if _is_whole(text, *m.span())
        ]
        mentions: list[_Mention] = []
        for mention in sorted(candidates, key=lambda m: (m.start, -m.end, m.letter)):
            while (
                mentions
                and mentions[-1].end > mention.start
                and mentions[-1].length < mention.length
            ):
                mentions.pop()
            if not mentions or mentions[-1].end <= mention.start:
                mentions.append(mention)
        return mentions

    def first(self, text: str) -> str | None:
        """The option at the beginning of `text`, after an optional article."""
        lead = _ARTICLES.match(text)
        for start in (lead.end(1), lead.end()) if lead else ():
            mentions = [
                _Mention(*m.span(), letter)
                for words, letter in self._words
                if (m := words.match(text, start)) and _is_whole(text, *m.span())
            ]
            if mentions:
                return max(mentions, key=lambda mention: mention.length).letter
        return None

    def mask(self, text: str) -> str:
        """`text` with the words of options masked, so that no letter matches in them."""
        parts, end = [], 0
        for mention in self.mentions(text):
            if mention.length > 1:
                parts += [text[end : mention.start], "\ufffc" * mention.length]
                end = mention.end
        return "".join([*parts, text[end:]])

    def by_value(self, text: str) -> str | None:
        """The option with the value of the first number in `text`."""
        value = number(text)
        if value is None or None in self._values or not self._values:
            return None
        return LETTERS[self._values.index(value)] if value in self._values else None


@lru_cache(maxsize=4_096)
def _options(texts: tuple[str, ...]) -> Options:
    return Options(texts)


def _is_whole(text: str, start: int, end: int) -> bool:
    """Whether the match is no part of a word or number, and no "no" as in "no way to know"."""
    before, after = text[max(0, start - 3) : start], text[end : end + 3]
    first, last = text[start], text[end - 1]
    if is_word_character(first) and _JOINED_BEFORE.search(before):
        return False
    if is_word_character(last) and _JOINED_AFTER.match(after):
        return False
    if first.isdigit() and _IN_NUMBER_BEFORE.search(before):
        return False
    if last.isdigit() and _IN_NUMBER_AFTER.match(after):
        return False
    return text[start:end].casefold() != "no" or _NO_ALONE.match(text, end) is not None


#: Letters of options in a list.
_LETTER = re.compile(r"(?<!\w)[A-Z](?!\w)")

_LEAD = (
    r"(?i:[\s(\[\"'*:<>-]{0,12}(?:(?:the|most|likely|probably|clearly|definitely|therefore|thus|then"
    r"|la|el|le|die|der|das|o|a(?=\s+(?:letra|opção))|l')\s*){0,4}"
    r"(?:(?:option|choice|answer|letter|alternative|opción|opção|letra|réponse|buchstabe|вариант"
    r"|选项|選項|選択肢|보기|选|選|第)\s*(?:is\s+|[#:(\[]\s*)?)?[\s(\[\"'*]{0,12})"
)
#: Text that may follow the letter of an answer.
_LETTER_ENDS = (
    rf"(?!{JOINED}|[+#°]|-{ALNUM}|/[a-z]|\.{ALNUM}|'(?:s|m|ll|d|ve|re|t)\b|\s?(?:°|\+\+))"
)
_FIRST = re.compile(rf"{_LEAD}(?<!{JOINED})([A-Za-z]){_LETTER_ENDS}")
_SECOND = re.compile(
    r"[)\]\"'*.]*\s*(?:,|/|&|\+|and|or|und|oder|y|o|et|ou|и|или|と|、|和|或|及|및|또는)\s*"
    rf"(?:(?:and|or)\s+)?[(\[\"'*]*(?:option\s+)?(?!I\s+[a-z])([A-Z]){_LETTER_ENDS}"
    r"(?!\s+(?:is|are|was|seems|has|does|do|can|would|will)\b)"
)
#: A letter joined with the next one.
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
#: A letter before words that only follow an answer.
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


def extract_letter(text: str, choices: Sequence[str] = ()) -> str | None:
    """The letter of the answer in `text`; `choices` are the options' words.

    "answer 2" and "option 2" are B. Repeating the options is no answer.
    """
    options = _options(tuple(choices))
    text = _fold(text)
    text = cut_run_on(text, lambda head: _read(head, options).letter is not None)
    return _read(text, options).letter


def _read(text: str, options: Options) -> _Reading:
    value = hash_line_answer(
        text,
        lambda line, last: (
            _first_answer(line, line, options) is not None
            if last
            else _letter_alone(line, options) is not None
        ),
    )
    if value is not None and (answer := _first_answer(value, value, options)):
        return answer
    announcements = list(reversed(find_announcements(text)))
    for item in announcements:
        if answer := _first_answer(item.text, item.rest, options):
            return answer
    for item in announcements:
        if answer := _sole_mention(item.text, options):
            return answer
    return _read_unannounced(text, options)


def _letter_alone(line: str, options: Options) -> _Reading | None:
    """The letter of a line that consists of it."""
    match = _FIRST.match(line)
    if (
        match
        and not line[match.end() :].strip(_TRIMMED + ")]")
        and match[1].upper() in options.letters
    ):
        return _Reading(match[1].upper())
    return None


def _first_answer(text: str, rest: str, options: Options) -> _Reading | None:
    """The answer at the beginning of an announcement."""
    if alone := _letter_alone(text, options):
        return alone
    if mention := options.first(rest):
        return _Reading(mention)
    match = _FIRST.match(text)
    if match is None or match[1].upper() not in options.letters:
        value = options.by_value(text) if NUMBER.match(strip_markup(text.strip())) else None
        return _Reading(value) if value else None
    letter, after = match[1], text[match.end() :]
    if (letter.islower() or letter in "AI") and _ARTICLE.match(after):
        return None
    other = _SECOND.match(after)
    if other and other[1] in options.letters and other[1] != letter.upper():
        return _Reading(None)
    if is_denied(text, match.start(1), match.end(1), _LETTER):
        return None
    return _Reading(letter.upper())


def _sole_mention(text: str, options: Options) -> _Reading | None:
    """The only option that an announcement mentions anywhere."""
    named = _named_options(text, options)
    if len(named) == 1:
        return _Reading(named.pop())
    mask = options.mask(text)
    marked = _last(_MARKED.finditer(mask), mask, options)
    return _Reading(marked[1].upper()) if marked else None


def _named_options(text: str, options: Options) -> set[str]:
    """The options whose words are in `text`, not negated."""
    named: set[str] = set()
    for m in options.mentions(text)[:MAX_MENTIONS]:
        if m.letter not in named and not is_denied(text, m.start, m.end, _LETTER):
            named.add(m.letter)
    return named


def _read_unannounced(text: str, options: Options) -> _Reading:
    text = _without_option_list(text, options)
    mask = options.mask(text)
    for find in (_best, _last_line, _by_label, _by_number, _marked_or_alone):
        if reading := find(mask, options):
            return reading
    named = _named_options(text, options)
    certain = len(named) == 1 and not is_refusal(mask)
    return _Reading(named.pop() if certain else None)


def _without_option_list(text: str, options: Options) -> str:
    """`text` without lines that only repeat the options."""
    lines = list(_OPTION_LINE.finditer(text))
    if len({line[1] for line in lines}) < 2:
        return text

    def shorn(line: re.Match[str]) -> str:
        named = options.mentions(line[2])
        repeated = named and named[0].start == 0 and not line[2][named[0].end :].strip(_TRIMMED)
        return "" if repeated else line[2]

    return _OPTION_LINE.sub(shorn, text)


def _last(matches: Iterable[re.Match[str]], text: str, options: Options) -> re.Match[str] | None:
    """The last match whose letter has an option and is not negated."""
    for match in reversed(deque(matches, maxlen=MAX_MENTIONS)):
        if match[1].upper() in options.letters and not is_denied(
            text, match.start(1), match.end(1), _LETTER
        ):
            return match
    return None


def _best(text: str, options: Options) -> _Reading | None:
    matches = (m for pattern in (_BEST, _CHOSEN, _NAMED) for m in pattern.finditer(text))
    ordered = sorted(matches, key=lambda m: m.start(1))
    stated = (m for m in ordered if not _IF.search(text, max(0, m.start(1) - 30), m.start(1)))
    match = _last(stated, text, options)
    return _Reading(match[1]) if match else None


def _last_line(text: str, options: Options) -> _Reading | None:
    lines = text.strip().splitlines()
    return _letter_alone(lines[-1], options) if lines else None


def _by_label(text: str, options: Options) -> _Reading | None:
    text = text.strip()
    match = _LABEL.match(text)
    if match is None or match[1].upper() not in options.letters:
        return None
    if match[2] and (match[1].islower() or match[1] == "I"):
        return None
    other = _SECOND.match(text, match.end(1))
    if other and other[1] != match[1].upper():
        return _Reading(None)
    denied = is_denied(text, match.start(1), match.end(1), _LETTER)
    return None if denied else _Reading(match[1].upper())


def _by_number(text: str, options: Options) -> _Reading | None:
    places = [int(n) - 1 for n in _NUMBERED.findall(text)]
    places = [place for place in places if place < len(options.letters)]
    return _Reading(LETTERS[places[-1]]) if places else None


def _marked_or_alone(text: str, options: Options) -> _Reading | None:
    if is_refusal(text):
        return None
    for pattern in (_MARKED, _ALONE):
        if match := _last(pattern.finditer(text), text, options):
            near = text[max(0, match.start(1) - 24) : match.start(1)]
            others = (_SECOND.match(text, match.end(1)), _BEFORE.search(near))
            several = {m[1] for m in others if m and m[1] in options.letters} - {match[1].upper()}
            return _Reading(None if several else match[1].upper())
    return None
