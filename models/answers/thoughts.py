"""Separation of a model's thought (reasoning) from its answer. Pure, and fast to import.

A thought is at the beginning of the text, was opened by the prompt (the text has only its closing
tag), or is opened later. Tags in quotes do not count, nor do tags in code blocks, except for a
thought at the beginning.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from itertools import islice
from typing import NamedTuple

#: Thoughts, and tags of one kind, that are processed in a text.
MOST = 64

_THINK = r"(?:[a-z]{2,8}[:_])?think(?:ing|_\w{1,8})?|thoughts?"
_FLAGS = re.IGNORECASE | re.DOTALL


class _Form(NamedTuple):
    """The tags of a thought, as regular expressions in which `{name}` is one of `names`."""

    opens: str
    closes: str
    names: str = ""
    #: Whether it may begin within the text.
    anywhere: bool = True
    #: Whether its closing tag counts without an opening tag.
    alone: bool = True
    #: Whether it counts without a closing tag.
    unclosed: bool = True

    def opening(self, name: str | None = None) -> str:
        return self.opens.format(name=f"(?P<name>{self.names})" if name is None else name)

    def closing(self, name: str | None = None) -> str:
        return self.closes.format(name=f"(?:{self.names})" if name is None else name)


#: The models of each form: docs/adr/0010-thoughts.md.
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
        "Here are my reasoning steps:", r"\[BEGIN FINAL RESPONSE\]", anywhere=False, unclosed=False
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

#: Harmony format: a turn consists of messages on channels.
_CHANNEL = "<|channel|>"
_CHANNELS = re.compile(r"\s*(?:<\|start\|>\w*\s*)?<\|channel\|>")
_MESSAGE = re.compile(
    r"<\|channel\|>\s*(?P<channel>\w*)[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>"
    r"(?P<text>.*?)(?=<\|(?:end|return|call|start|channel)\|>|\Z)",
    re.DOTALL,
)
#: The same without control tokens.
_BARE_CHANNELS = re.compile(r"\s*analysis(?P<thought>\S.*?)assistantfinal(?P<answer>.*)", re.DOTALL)

#: Blank lines before an answer, and tags around it.
_BLANK = re.compile(r"\A(?:[ \t]*\r?\n)+|\A[ \t]+(?=\S)")
_WRAPPED = re.compile(
    r"\A\s*<\|(?:start_response|begin_of_solution|open\|>response<\|sep)\|>\s*"
    r"|\s*(?:<\|(?:end_response|end_of_solution|end|return)\|>|\[end final response\]"
    r"|<\|close\|>(?:response<\|sep\|>.*)?)\s*\Z",
    _FLAGS,
)
#: Groups of tokens that form tags together; the first two identify a group.
_PARTS = (
    (_CHANNEL, "<|message|>", "<|start|>", "<|constrain|>", "<|end|>", "<|return|>", "<|call|>"),
    ("<|open|>", "<|sep|>", "<|close|>"),
)
_SPACE = re.compile(r"\s*")
#: An unclosed quote on a line; not an apostrophe.
_QUOTE = re.compile(r"(?:(?<!\w)|(?<=\b[rbfu])|(?<=\b[rbf][rbf]))([\"'`])(?:(?!\1).)*\Z", _FLAGS)
_LONGEST_LINE = 1_000
_FENCES = ("```", "~~~", '"""', "'''")


class _Thought(NamedTuple):
    text: str
    #: Position after it.
    end: int
    closed: bool


def split_thought(text: str, *, opened: str = "") -> tuple[str, str]:
    """The thought in `text` and the answer, which is empty after an unclosed thought.

    `opened` is the end of the prompt if it opens a thought (`opened_by`).
    """
    whole = opened + text
    parts = _by_channels(whole) or _by_tags(whole)
    if parts is None:
        return (text, "") if opened else ("", text)
    thoughts, answer = parts
    return (
        "\n\n".join(thought for thought in map(str.strip, thoughts) if thought),
        _WRAPPED.sub("", _BLANK.sub("", answer)),
    )


def opened_by(prompt_end: str) -> str:
    """The end of a prompt from an opening tag that it does not close; else empty."""
    _, channel, after = prompt_end.rpartition(_CHANNEL)
    if channel:
        return "" if after.startswith("final") else channel + after
    tags = [
        (tag.start(), place)
        for place, (_, opens) in enumerate(_OPENS)
        for tag in opens.finditer(prompt_end)
    ]
    start, place = max(tags, default=(len(prompt_end), 0))
    return "" if _CLOSES[place].search(prompt_end, start) else prompt_end[start:]


def is_mark(token: str) -> bool:
    """Whether a token is an opening or closing tag."""
    patterns = (*(opens for _, opens in _OPENS), *_CLOSES)
    return token == "<|channel>" or any(pattern.fullmatch(token) for pattern in patterns)


def marks_among(tokens: Collection[str]) -> set[str]:
    """The control tokens that are tags of thoughts, or parts of them."""
    marks = {token for token in tokens if is_mark(token)}
    for parts in _PARTS:
        if all(part in tokens for part in parts[:2]):
            marks |= {part for part in parts if part in tokens}
    return marks


def marks_in(template: str) -> set[str]:
    """Tags of thoughts in a chat template, which removes thoughts from earlier answers."""
    patterns = (*(opens for _, opens in _OPENS), *_CLOSES)
    marks = {mark[0] for pattern in patterns for mark in pattern.finditer(template)}
    return {mark for mark in marks if not mark[0].isalnum()}


def _by_channels(text: str) -> tuple[list[str], str] | None:
    if strip_markup := _BARE_CHANNELS.match(text):
        return [strip_markup["thought"]], strip_markup["answer"]
    if not _CHANNELS.match(text):
        return None
    messages = list(_MESSAGE.finditer(text))
    thoughts = [message["text"] for message in messages if message["channel"] != "final"]
    answers = [message["text"] for message in messages if message["channel"] == "final"]
    return (thoughts if messages else [text]), "\n\n".join(answers)


def _by_tags(text: str) -> tuple[list[str], str] | None:
    thoughts, start = _leading_thoughts(text)
    if not thoughts and (tag := _closed_alone(text)) is not None:
        thoughts, start = [text[: tag.start()]], tag.end()
    inner, answer = _inner_thoughts(text[start:])
    return ([*thoughts, *inner], answer) if thoughts or inner else None


def _leading_thoughts(text: str) -> tuple[list[str], int]:
    """The thoughts at the beginning of `text`, and the position after them."""
    thoughts: list[str] = []
    start = 0
    while len(thoughts) < MOST:
        space = _SPACE.match(text, start)
        first = space.end() if space else start
        matches = ((form, opens.match(text, first)) for form, opens in _OPENS)
        candidates = ((form, _until_closed(text, tag, form)) for form, tag in matches if tag)
        thought = next((t for form, t in candidates if t.closed or form.unclosed), None)
        if thought is None:
            break
        thoughts.append(thought.text)
        start = thought.end
    return thoughts, start


def _until_closed(text: str, tag: re.Match[str], form: _Form) -> _Thought:
    """The thought that `tag` opens, up to its closing tag or the end."""
    name = re.escape(tag.groupdict().get("name") or "")
    tags = re.compile(f"(?P<opens>{form.opening(name)})|{form.closing(name)}", _FLAGS)
    depth, first, quoted = 1, None, None
    for match in islice(tags.finditer(text, tag.end()), MOST):
        if _in_quotes(text, match):
            quoted = quoted or (None if match["opens"] else match)
            continue
        depth += 1 if match["opens"] else -1
        first = first or (None if match["opens"] else match)
        if not depth:
            return _Thought(text[tag.end() : match.start()], match.end(), True)
    # A thought about tags opens more of them than it closes.
    if (closes := first or quoted) is None:
        return _Thought(text[tag.end() :], len(text), False)
    return _Thought(text[tag.end() : closes.start()], closes.end(), True)


def _closed_alone(text: str) -> re.Match[str] | None:
    """The closing tag of a thought that the prompt opened; alone on a line also in a code block."""
    for closes in islice(_ALONE.finditer(text), MOST):
        own_line = not _line_before(text, closes).strip() and not _line_after(text, closes).strip()
        if own_line or _is_tag(text, closes):
            before = (t for _, opens in _OPENS for t in opens.finditer(text, 0, closes.start()))
            opened = (own_line or _is_tag(text, tag) for tag in islice(before, MOST))
            return None if any(opened) else closes
    return None


def _inner_thoughts(text: str) -> tuple[list[str], str]:
    """The thoughts within `text`, and `text` without them."""
    thoughts, parts, start = [], [], 0
    for form, tag in _opened(text):
        if tag.start() < start or not _is_tag(text, tag):
            continue
        thought = _until_closed(text, tag, form)
        if not thought.closed and _line_before(text, tag).strip():
            continue  # a sentence about the tag
        thoughts.append(thought.text)
        parts.append(text[start : tag.start()])
        start = thought.end
    return thoughts, "".join([*parts, text[start:]])


def _opened(text: str) -> Iterator[tuple[_Form, re.Match[str]]]:
    """Opening tags in the order of the text."""
    tags = [
        (form, tag)
        for form, opens in _OPENS
        if form.anywhere
        for tag in islice(opens.finditer(text), MOST)
    ]
    yield from sorted(tags, key=lambda each: each[1].start())


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
