"""Options for the format of the final answer, common to every strategy that answers.

With equal options every strategy asks the same text. The first draft (act `draft`, round 1, index
0) then has the same seed too: within one evaluation run `single`, `vote`, `resample`, `moa`,
`self-moa` and `colm` share its completion.
"""

from __future__ import annotations

from pydantic import Field

from colm.models.answers.compare import Kind
from colm.models.messages import Message, Query
from colm.models.prompts import answer_format


class FormatOptions(Message):
    #: The kind of answer: how it is extracted from a text and compared.
    kind: Kind | None = None
    #: Hint added to the question instead of the default of `kind`; "" adds none.
    format_hint: str | None = Field(default=None, max_length=1_000)


def question_of(query: Query, options: FormatOptions) -> str:
    return answer_format.add_format_hint(query.question, options.kind, options.format_hint)
