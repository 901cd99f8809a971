"""From training examples to tokens, by the model's own chat template."""

from __future__ import annotations

from collections.abc import Iterable

from colm.models.engines.native.tokenizer import ChatTokenizer
from colm.models.errors import ColmError
from colm.models.tuning.examples import Example
from colm.models.tuning.trainer import TokenizedExample


def encode(
    tokenizer: ChatTokenizer, examples: Iterable[Example], *, max_tokens: int, end: int
) -> tuple[list[TokenizedExample], int]:
    """The tokenized examples, and how many were left out as longer than `max_tokens`.

    `end` is the token that ends the assistant's turn. Raises ColmError where none is left.
    """
    tokenized, too_long = [], 0
    for example in examples:
        answer = (*tokenizer.continuation(example.answer.strip()), end)
        encoded = TokenizedExample(prompt=tuple(tokenizer.encode(example.turns)), answer=answer)
        if len(encoded) > max_tokens:
            too_long += 1
        else:
            tokenized.append(encoded)
    if not tokenized:
        raise ColmError(
            f"every example is longer than max_tokens = {max_tokens}: raise it, or shorten the data"
        )
    return tokenized, too_long


def end_of_turn(tokenizer: ChatTokenizer, eos: int | None) -> int:
    """The token that ends an assistant's turn: the template's, or else the tokenizer's own."""
    ends = sorted(tokenizer.ends)
    if eos is not None and (not ends or eos in ends):
        return eos
    if not ends:
        raise ColmError("the chat template ends no turn and the tokenizer has no end token")
    return ends[0]
