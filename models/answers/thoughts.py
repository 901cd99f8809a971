"""What a model thinks before it answers, apart from its answer. Pure, and light to import.

A thought counts where the text begins with it, where the prompt had opened it (then what closes it
stands alone in the text), and where it is opened further on. A tag in quotes is a word that the
text is about; so is one in a block of code, but for a thought that the text begins with.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from itertools import islice
from typing import NamedTuple

#: Thoughts, and tags of one kind, that are looked at in a text; further ones stay where they are.
MOST = 64

_THINK = r"(?:[a-z]{2,8}[:_])?think(?:ing|_\w{1,8})?|thoughts?"
_FLAGS = re.IGNORECASE | re.DOTALL


class _Form(NamedTuple):
    """How a thought is written. Regular expressions, in which `{name}` is one of `names`."""

    opens: str
    closes: str
    names: str = ""
    #: It may be opened after the text has begun.
    anywhere: bool = True
    #: What closes it counts without what opens it.
    alone: bool = True
    #: It is one without what closes it: no words that an answer may begin with too.
    unclosed: bool = True

    def opening(self, name: str | None = None) -> str:
        return self.opens.format(name=f"(?P<name>{self.names})" if name is None else name)

    def closing(self, name: str | None = None) -> str:
        return self.closes.format(name=f"(?:{self.names})" if name is None else name)


#: Whose they are is told in docs/adr/0010-thoughts.md.
_FORMS = (
    _Form("<{name}>", "</{name}>", _THINK),
    _Form("<{name}>", "</{name}>", "reasoning", anywhere=False),
    _Form("<{name}>", "</{name}>", "reflection|scratchpad", anywhere=False, alone=False),
    _Form(r"(?-i:\[{name}\])", r"(?-i:\[/{name}\])", "THINK|THINKING"),
    _Form("\u25c1{name}\u25b7", "\u25c1/{name}\u25b7", "think|thinking"),
    _Form(r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>"),
    _Form(r"<\|start_thinking\|>", r"<\|end_thinking\|>"),
    _Form(r"<\|inner_prefix\|>", r"<\|inner_suffix\|>"),
    _Form(r"<\|channel>(?:thought|analysis)\b", r"<channel\|>"),
    _Form(r"<\|open\|>think<\|sep\|>", r"<\|close\|>think<\|sep\|>"),
    _Form(
        "Here are my reasoning steps:",
        r"\[BEGIN FINAL RESPONSE\]",
        anywhere=False,
        unclosed=False,
    ),
    _Form(
        "Here(?: is|'s) my thought process:",
        "Here(?: is|'s) my response:",
        anywhere=False,
        alone=False,
        unclosed=False,
    ),
)
_OPENS = [(form, re.compile(form.opening(), _FLAGS)) for form in _FORMS]
_CLOSES = [re.compile(form.closing(), _FLAGS) for form in _FORMS]
_ALONE = re.compile("|".join(form.closing() for form in _FORMS if form.alone), _FLAGS)

#: Harmony: a turn is made of messages, each on a channel.
_CHANNEL = "<|channel|>"
_CHANNELS = re.compile(r"\s*(?:<\|start\|>\w*\s*)?<\|channel\|>")
_MESSAGE = re.compile(
    r"<\|channel\|>\s*(?P<channel>\w*)[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>"
    r"(?P<text>.*?)(?=<\|(?:end|return|call|start|channel)\|>|\Z)",
    re.DOTALL,
)
#: The same where somebody has left out the control tokens.
_BARE_CHANNELS = re.compile(
    r"\s*analysis(?P<thought>\S.*?)assistantfinal(?P<answer>.*)",
    re.DOTALL,
)

#: Lines that are left empty before an answer, and what some models write around it.
_BLANK = re.compile(r"\A(?:[ \t]*\r?\n)+|\A[ \t]+(?=\S)")
_WRAPPED = re.compile(
    r"\A\s*<\|(?:start_response|begin_of_solution|open\|>response<\|sep)\|>\s*"
    r"|\s*(?:<\|(?:end_response|end_of_solution|end|return)\|>|\[end final response\]"
    r"|<\|close\|>(?:response<\|sep\|>.*)?)\s*\Z",
    _FLAGS,
)
#: Tokens that make up marks together; those that have the first two of a line have these marks.
_PARTS = (
    (_CHANNEL, "<|message|>", "<|start|>", "<|constrain|>", "<|end|>", "<|return|>", "<|call|>"),
    ("<|open|>", "<|sep|>", "<|close|>"),
)
_SPACE = re.compile(r"\s*")
#: A quote that nothing on its line has closed before the end; an apostrophe is none.
_QUOTE = re.compile(r"(?:(?<!\w)|(?<=\b[rbfu])|(?<=\b[rbf][rbf]))([\"'`])(?:(?!\1).)*\Z", _FLAGS)
_LONGEST_LINE = 1_000
_FENCES = ("```", "~~~", '"""', "'''")


class _Thought(NamedTuple):
    text: str
    #: Where what follows it begins.
    end: int
    closed: bool


def split_thought(text: str, *, opened: str = "") -> tuple[str, str]:
    """The thought in `text`, and the answer: all of `text` where there is no thought.

    A thought that nobody closed has no answer after it: the answer is empty then. `opened`: how
    the prompt before `text` ended, where it left a thought open.
    """
    whole = opened + text
    found = _by_channels(whole) or _by_tags(whole)
    if found is None:
        return (text, "") if opened else ("", text)
    thoughts, answer = found
    return (
        "\n\n".join(thought for thought in map(str.strip, thoughts) if thought),
        _WRAPPED.sub("", _BLANK.sub("", answer)),
    )


def opened_by(prompt_end: str) -> str:
    """The end of a prompt from where it opens a thought that it leaves open; else empty."""
    _, found, after = prompt_end.rpartition(_CHANNEL)
    if found:
        return "" if after.startswith("final") else found + after
    tags = [
        (tag.start(), place)
        for place, (_, opens) in enumerate(_OPENS)
        for tag in opens.finditer(prompt_end)
    ]
    start, place = max(tags, default=(len(prompt_end), 0))
    return "" if _CLOSES[place].search(prompt_end, start) else prompt_end[start:]


def is_mark(token: str) -> bool:
    """Whether a token by itself opens or closes a thought."""
    patterns = (*(opens for _, opens in _OPENS), *_CLOSES)
    return token == "<|channel>" or any(pattern.fullmatch(token) for pattern in patterns)


def marks_among(tokens: Collection[str]) -> set[str]:
    """The control tokens without which nobody would find a thought in a text."""
    found = {token for token in tokens if is_mark(token)}
    for parts in _PARTS:
        if all(part in tokens for part in parts[:2]):
            found |= {part for part in parts if part in tokens}
    return found


def marks_in(template: str) -> set[str]:
    """Marks of thoughts that a template speaks of: it cuts earlier answers where they stand."""
    patterns = (*(opens for _, opens in _OPENS), *_CLOSES)
    found = {mark[0] for pattern in patterns for mark in pattern.finditer(template)}
    return {mark for mark in found if not mark[0].isalnum()}


def _by_channels(text: str) -> tuple[list[str], str] | None:
    if bare := _BARE_CHANNELS.match(text):
        return [bare["thought"]], bare["answer"]
    if not _CHANNELS.match(text):
        return None
    messages = list(_MESSAGE.finditer(text))
    thoughts = [found["text"] for found in messages if found["channel"] != "final"]
    answers = [found["text"] for found in messages if found["channel"] == "final"]
    return (thoughts if messages else [text]), "\n\n".join(answers)


def _by_tags(text: str) -> tuple[list[str], str] | None:
    thoughts, start = _at_the_beginning(text)
    if not thoughts and (tag := _closed_alone(text)) is not None:
        thoughts, start = [text[: tag.start()]], tag.end()
    inner, answer = _further_on(text[start:])
    return ([*thoughts, *inner], answer) if thoughts or inner else None


def _at_the_beginning(text: str) -> tuple[list[str], int]:
    """The thoughts that `text` begins with, and where what follows them begins."""
    thoughts: list[str] = []
    start = 0
    while len(thoughts) < MOST:
        space = _SPACE.match(text, start)
        first = space.end() if space else start
        matches = ((form, opens.match(text, first)) for form, opens in _OPENS)
        found = ((form, _until_closed(text, tag, form)) for form, tag in matches if tag)
        thought = next((t for form, t in found if t.closed or form.unclosed), None)
        if thought is None:
            break
        thoughts.append(thought.text)
        start = thought.end
    return thoughts, start


def _until_closed(text: str, tag: re.Match[str], form: _Form) -> _Thought:
    """What `tag` has opened, up to what closes it or the end."""
    name = re.escape(tag.groupdict().get("name") or "")
    tags = re.compile(f"(?P<opens>{form.opening(name)})|{form.closing(name)}", _FLAGS)
    depth, first, quoted = 1, None, None
    for found in islice(tags.finditer(text, tag.end()), MOST):
        if _in_quotes(text, found):
            quoted = quoted or (None if found["opens"] else found)
            continue
        depth += 1 if found["opens"] else -1
        first = first or (None if found["opens"] else found)
        if not depth:
            return _Thought(text[tag.end() : found.start()], found.end(), True)
    # A thought that speaks of thoughts opens more of them than it closes.
    if (closes := first or quoted) is None:
        return _Thought(text[tag.end() :], len(text), False)
    return _Thought(text[tag.end() : closes.start()], closes.end(), True)


def _closed_alone(text: str) -> re.Match[str] | None:
    """What closes a thought that the prompt had opened; by itself on a line even in a block of code
    that the thought has left open."""
    for closes in islice(_ALONE.finditer(text), MOST):
        own_line = not _line_before(text, closes).strip() and not _line_after(text, closes).strip()
        if own_line or _is_tag(text, closes):
            before = (t for _, opens in _OPENS for t in opens.finditer(text, 0, closes.start()))
            opened = (own_line or _is_tag(text, tag) for tag in islice(before, MOST))
            return None if any(opened) else closes
    return None


def _further_on(text: str) -> tuple[list[str], str]:
    """The thoughts that are opened after `text` has begun, and `text` without them."""
    thoughts, parts, start = [], [], 0
    for form, tag in _opened(text):
        if tag.start() < start or not _is_tag(text, tag):
            continue
        thought = _until_closed(text, tag, form)
        if not thought.closed and _line_before(text, tag).strip():
            continue  # a sentence that speaks of the tag
        thoughts.append(thought.text)
        parts.append(text[start : tag.start()])
        start = thought.end
    return thoughts, "".join([*parts, text[start:]])


def _opened(text: str) -> Iterator[tuple[_Form, re.Match[str]]]:
    """In the order of the text."""
    found = [
        (form, tag)
        for form, opens in _OPENS
        if form.anywhere
        for tag in islice(opens.finditer(text), MOST)
    ]
    yield from sorted(found, key=lambda each: each[1].start())


def _is_tag(text: str, tag: re.Match[str]) -> bool:
    in_code = any(text.count(fence, 0, tag.start()) % 2 for fence in _FENCES)
    return not in_code and not _in_quotes(text, tag)


def _in_quotes(text: str, tag: re.Match[str]) -> bool:
    quote = _QUOTE.search(_line_before(text, tag))
    return quote is not None and quote[1] in _line_after(text, tag)


def _line_before(text: str, tag: re.Match[str]) -> str:
    start = max(text.rfind("\n", 0, tag.start()) + 1, tag.start() - _LONGEST_LINE)
    return text[start : tag.start()]


def _line_after(text: str, tag: re.Match[str]) -> str:
    return text[tag.end() : tag.end() + _LONGEST_LINE].partition("\n")[0]
