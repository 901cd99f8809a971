"""From a chat to tokens, and from tokens to text as they come."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from jinja2 import TemplateError
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from colm.models.answers.thoughts import marks_among, opened_by
from colm.models.engines.native.faults import failed
from colm.models.engines.native.turn_markers import Markers
from colm.models.errors import EngineError, ModelUnusable
from colm.models.messages import Turn


@dataclass(frozen=True, kw_only=True, eq=False)
class Prompt:
    """A prompt's tokens; where it holds images, negative numbers in their places, and pixels."""

    tokens: list[int]
    #: The model's own keyword arguments for its images.
    pixels: Mapping[str, Any] | None = None
    #: How it ends, where it leaves a thought open there.
    opened: str = ""


@dataclass(frozen=True, kw_only=True)
class _Frame:
    """Text that the template writes around turns of certain roles."""

    #: The system turn's text goes into the user's: the template refuses it, or leaves it out.
    joined: bool
    #: A prompt with turns that say little; the same but for what they say; what follows the last.
    whole: str
    written: str
    end: str
    #: The tokens in it that begin and end turns.
    turns: tuple[int, ...] = ()


class ChatTokenizer:
    """A tokenizer that many threads may use at once. ModelUnusable if its template is of no use.

    Fast tokenizers are mutable under the hood and raise when two threads meet in one: encoding
    takes a lock, and decoding, which the step loop does, has a copy of its own and never waits.
    `decode` is for one thread at a time.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._lock = threading.Lock()
        self._encoder = tokenizer
        self._decoder = copy.deepcopy(tokenizer)
        self._hidden = _hidden(tokenizer)
        self._frames: dict[tuple[tuple[str, int], ...], _Frame] = {}
        written = "".join(frame.written for frame in self._usual_frames())
        self._markers = Markers(tokenizer.added_tokens_decoder, self._sources(), written)
        #: The token that the template writes behind an assistant's turn, and so ends one.
        self.ends = self._ends()

    def encode(self, messages: Sequence[Turn]) -> list[int]:
        """The prompt's tokens, ready for the assistant's turn; EngineError if the template refuses
        or fails, or leaves out a turn.

        A marker of turns that stands in the text of one is broken up: what a user or another model
        wrote must not end its own turn and begin another's.
        """
        return self._prompt(messages)[1]

    def prompt(self, messages: Sequence[Turn], images: Mapping[str, bytes]) -> Prompt:  # noqa: ARG002 - for heirs
        """The prompt of a chat; EngineError for one with images, which this model cannot see."""
        if any(turn.images for turn in messages):
            raise EngineError(
                "the question has an image and this model reads text only: ask participants that"
                " see, or let this one read the others' descriptions (reads_descriptions = true)"
            )
        text, tokens = self._prompt(messages)
        return Prompt(tokens=tokens, opened=self._opened(text, messages))

    def continuation(self, text: str) -> list[int]:
        """The tokens of `text` where it goes on from a prompt."""
        return self._tokens(self._markers.defused(text))

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of `tokens`, control tokens left out but for those of thoughts."""
        hidden = self._hidden or ()
        try:
            text = self._decoder.decode(
                [token for token in tokens if token not in hidden],
                skip_special_tokens=self._hidden is None,
                clean_up_tokenization_spaces=False,
            )
        except BaseException as error:
            raise failed("the tokenizer cannot read what the model wrote", error) from error
        assert isinstance(text, str)
        return text

    def _template(self) -> Any:
        """The chat template, or several by their names."""
        return self._encoder.chat_template

    def _sources(self) -> str:
        template = self._template()
        return "\n".join(map(str, template.values() if isinstance(template, dict) else [template]))

    def _prompt(self, messages: Sequence[Turn]) -> tuple[str, list[int]]:
        """The prompt and its tokens."""
        frame = self._frame(messages)
        usual = None
        for harmless in (self._markers.defused, self._markers.spread, self._markers.bare):
            chat = [
                turn.model_copy(update={"content": harmless(turn.content)}) for turn in messages
            ]
            text = self._rendered(chat, joined=frame.joined)
            tokens = self._tokens(text)
            if tuple(self._turns(tokens)) == frame.turns:
                return text, tokens
            usual = usual or (text, tokens)
        # Not the texts' doing: the template itself writes other turns for what they say.
        assert usual is not None
        return usual

    def _opened(self, prompt: str, messages: Sequence[Turn]) -> str:
        """How the prompt ends, if it leaves a thought open there."""
        end = self._frame(messages).end
        if not prompt.endswith(end):
            last = self._markers.defused(messages[-1].content).strip()
            end = prompt.rpartition(last)[2] if last else ""
        return opened_by(end)

    def _usual_frames(self) -> Iterator[_Frame]:
        """Of a question, and of what else is asked of a model. ModelUnusable for none at all."""
        template = self._template()
        if isinstance(template, dict) and "default" not in template:
            raise ModelUnusable(
                f"the tokenizer has the chat templates {', '.join(sorted(template))} and none that"
                " is called default: put the one to use into the folder as chat_template.jinja"
            )
        try:
            yield self._tried(_probes_of("user"))
        except EngineError as error:
            raise ModelUnusable(
                f"{error}. Put a template that works into the folder as chat_template.jinja"
            ) from error
        for roles in (("system", "user"), ("user", "assistant", "user")):
            with contextlib.suppress(EngineError):
                yield self._tried(_probes_of(*roles))

    def _frame(self, messages: Sequence[Turn]) -> _Frame:
        """EngineError if the template refuses turns of these roles or leaves one out."""
        shape = tuple((turn.role, len(turn.images)) for turn in messages)
        if shape not in self._frames:
            frame = self._tried(messages)
            turns = tuple(self._turns(self._tokens(frame.whole)))
            self._frames[shape] = replace(frame, turns=turns)
        return self._frames[shape]

    def _tried(self, messages: Sequence[Turn]) -> _Frame:
        probes = [
            turn.model_copy(update={"content": f"probe{place}of{len(messages)}"})
            for place, turn in enumerate(messages)
        ]
        # Some models know no system role: their users put it into the first turn.
        foldable = [turn.role for turn in messages[:2]] == ["system", "user"]
        refusal: EngineError | None = None
        for joined in (False, True) if foldable else (False,):
            try:
                return self._around(probes, joined=joined)
            except EngineError as error:
                refusal = refusal or error
        assert refusal is not None
        raise refusal

    def _around(self, probes: Sequence[Turn], *, joined: bool) -> _Frame:
        whole = end = written = self._rendered(probes, joined=joined)
        for probe in probes:
            before, separator, end = written.rpartition(probe.content)
            if not separator:
                raise EngineError(f"the model's chat template leaves out the {probe.role} turn")
            written = before + end
        return _Frame(joined=joined, whole=whole, written=written, end=end)

    def _ends(self) -> frozenset[int]:
        """The first token of its own that the template writes behind an answer."""
        for roles in (("user", "assistant"), ("user", "assistant", "user")):
            probes = _probes_of(*roles)
            try:
                text = self._rendered(probes, joined=False, answered=True)
            except EngineError:
                continue
            behind = text.rpartition(probes[1].content)[2]
            tokens = self._tokens(behind.partition(probes[-1].content)[0] if roles[2:] else behind)
            # What is there twice makes up something, such as the end of a part of the turn.
            ends = (t for t in tokens if t in self._markers.ends and tokens.count(t) == 1)
            if (first := next(ends, None)) is not None:
                return frozenset({first})
        return frozenset()

    def _rendered(self, messages: Sequence[Turn], *, joined: bool, answered: bool = False) -> str:
        """The prompt as text; `answered`: the chat ends with the assistant's turn."""
        chat = [self._turn(turn) for turn in messages]
        if joined:
            system, user, *rest = chat
            content = self._joined(system["content"], user["content"])
            chat = [{"role": "user", "content": content}, *rest]
        try:
            return self._render(chat, add_generation_prompt=not answered)
        except TemplateError as error:
            raise EngineError(f"the model's chat template refuses the chat: {error}") from error
        except BaseException as error:
            raise failed("the model's chat template fails", error) from error

    def _tokens(self, text: str) -> list[int]:
        try:
            with self._lock:
                # The template writes the special tokens itself.
                return list(self._encoder(text, add_special_tokens=False)["input_ids"])
        except BaseException as error:
            raise failed("the model's tokenizer fails", error) from error

    def _turns(self, tokens: Sequence[int]) -> list[int]:
        return [token for token in tokens if token in self._markers.turns]

    def _turn(self, turn: Turn) -> dict[str, Any]:
        return {"role": turn.role, "content": turn.content}

    def _joined(self, first: Any, other: Any) -> Any:
        return f"{first}\n\n{other}"

    def _render(self, chat: list[dict[str, Any]], *, add_generation_prompt: bool) -> str:
        prompt = self._encoder.apply_chat_template(
            chat, tokenize=False, add_generation_prompt=add_generation_prompt
        )
        assert isinstance(prompt, str)
        return prompt


def _probes_of(*roles: Literal["system", "user", "assistant"]) -> list[Turn]:
    return [Turn(role=role, content=f"probe{place}") for place, role in enumerate(roles)]


def _hidden(tokenizer: PreTrainedTokenizerBase) -> frozenset[int] | None:
    """The control tokens that no text shows, where there are others that it shows: of thoughts."""
    special = {n: t.content for n, t in tokenizer.added_tokens_decoder.items() if t.special}
    marks = marks_among(special.values())
    return frozenset(n for n, t in special.items() if t not in marks) if marks else None


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
