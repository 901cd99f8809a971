"""From a chat to tokens, and from tokens to text as they come."""

from __future__ import annotations

import copy
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from models.errors import EngineError
from models.messages import Turn


@dataclass(frozen=True, kw_only=True, eq=False)
class Prompt:
    """A prompt's tokens; where it holds images, negative numbers in their places, and pixels."""

    tokens: list[int]
    #: The model's own keyword arguments for its images.
    pixels: Mapping[str, Any] | None = None


class ChatTokenizer:
    """A tokenizer that many threads may use at once.

    Fast tokenizers are mutable under the hood and raise when two threads meet in one: encoding
    takes a lock, and decoding, which the step loop does, has a copy of its own and never waits.
    `decode` is for one thread at a time.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._lock = threading.Lock()
        self._encoder = tokenizer
        self._decoder = copy.deepcopy(tokenizer)
        special = [t.content for t in tokenizer.added_tokens_decoder.values() if t.special]
        self._special = re.compile("|".join(map(re.escape, special))) if special else None

    def encode(self, messages: Sequence[Turn]) -> list[int]:
        """The prompt's tokens, ready for the assistant's turn; EngineError if the template refuses.

        A control token that stands in the text of a turn is broken up: what a user or another model
        wrote must not end its own turn and begin another's.
        """
        chat = [self._turn(turn) for turn in messages]
        with self._lock:
            prompt = self._rendered(chat)
            # The template writes the special tokens itself.
            tokens = self._encoder(prompt, add_special_tokens=False)["input_ids"]
        return list(tokens)

    def prompt(self, messages: Sequence[Turn], images: Mapping[str, bytes]) -> Prompt:  # noqa: ARG002 - for heirs
        """The prompt of a chat; EngineError for one with images, which this model cannot see."""
        if any(turn.images for turn in messages):
            raise EngineError(
                "the question has an image and this model reads text only: ask participants that"
                " see, or let this one read the others' descriptions (reads_descriptions = true)"
            )
        return Prompt(tokens=self.encode(messages))

    def continuation(self, text: str) -> list[int]:
        """The tokens of `text` where it goes on from a prompt."""
        with self._lock:
            return list(self._encoder(self._defused(text), add_special_tokens=False)["input_ids"])

    def decode(self, tokens: Sequence[int]) -> str:
        text = self._decoder.decode(
            list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        assert isinstance(text, str)
        return text

    def _turn(self, turn: Turn) -> dict[str, Any]:
        return {"role": turn.role, "content": self._defused(turn.content)}

    def _joined(self, one: Any, other: Any) -> Any:
        return f"{one}\n\n{other}"

    def _rendered(self, chat: list[dict[str, Any]]) -> str:
        try:
            return self._render(chat)
        except TemplateError as error:
            # Some models know no system role: their users put it into the first turn.
            if len(chat) > 1 and chat[0]["role"] == "system" and chat[1]["role"] == "user":
                joined = self._joined(chat[0]["content"], chat[1]["content"])
                return self._rendered([{"role": "user", "content": joined}, *chat[2:]])
            raise EngineError(f"the model's chat template refuses the chat: {error}") from error

    def _render(self, chat: list[dict[str, Any]]) -> str:
        prompt = self._encoder.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        assert isinstance(prompt, str)
        return prompt

    def _defused(self, content: str) -> str:
        if self._special is None:
            return content
        return self._special.sub(lambda found: f"{found[0][:1]} {found[0][1:]}", content)


class StopFinder:
    """Reads a completion token by token and says when a stop string has appeared.

    A token alone may be half a character or lose its leading space, so each new piece of text is
    the difference between two decodings that share a few tokens of context.
    """

    def __init__(self, stops: Sequence[str], decode: Callable[[Sequence[int]], str]) -> None:
        self._stops = stops
        self._overlap = max(map(len, stops)) - 1
        self._decode = decode
        self._tokens: list[int] = []
        self._text = ""
        #: Tokens before `_start` are behind us; those before `_read` are in `_text`.
        self._start = self._read = 0

    def push(self, token: int) -> str | None:
        """The completion's text, without the stop string, once one has appeared."""
        self._tokens.append(token)
        before = self._decode(self._tokens[self._start : self._read])
        now = self._decode(self._tokens[self._start :])
        if now.endswith("\N{REPLACEMENT CHARACTER}"):
            return None  # half a character: the next token completes it
        searched = max(0, len(self._text) - self._overlap)
        self._text += now[len(before) :]
        self._start, self._read = self._read, len(self._tokens)
        ends = [end for stop in self._stops if (end := self._text.find(stop, searched)) >= 0]
        return self._text[: min(ends)] if ends else None
