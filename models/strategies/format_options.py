"""The options of every strategy that answers: how the final answer looks, so that it can be read.

The question that a participant answers is the same text in every strategy with the same options.
So is the first draft's step (act `draft`, round 1, index 0), and with it the derived seed: within
one evaluation run `single`, `vote`, `resample`, `moa`, `self-moa` and `colm` share it.
"""

from __future__ import annotations

from pydantic import Field

from colm.models.answers.compare import Kind
from colm.models.messages import Message, Query
from colm.models.prompts import answer_format


class FormatOptions(Message):
    """Options that say what a final answer looks like."""

    #: What kind of answer it is: how it is found in a text, and when two of them are the same.
    kind: Kind | None = None
    #: Words added to the question, in place of the usual ones for `kind`; "" adds none.
    format_hint: str | None = Field(default=None, max_length=1_000)


def question_of(query: Query, options: FormatOptions) -> str:
    """The question as it is put to whoever answers it."""
    return answer_format.add_format_hint(query.question, options.kind, options.format_hint)
