"""Repeated sampling of one participant, shared by `vote`, `resample`, `self-moa` and others. Pure.

Sample 0 is the first draft of every strategy: it has the same act, round, index and prompt, hence
the same seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from colm.models.answers.selection import medoid
from colm.models.errors import InvalidAsk
from colm.models.messages import Participant, Query, Step
from colm.models.prompts import colm
from colm.models.strategies.cope.consensus import votes_of
from colm.models.strategies.cope.report import truncate_answers
from colm.models.strategies.format_options import FormatOptions, question_of
from colm.models.strategies.stages import make_step


def resolve_participant(query: Query, strategy: str, name: str | None) -> Participant:
    """The participant `name`, or the first client. Raises InvalidAsk if there is none."""
    if name is None:
        if query.clients:
            return query.clients[0]
        raise InvalidAsk(f"strategy {strategy!r} needs a client or participant='NAME'")
    return participant_option(query, "participant", name)


def participant_option(query: Query, option: str, name: str) -> Participant:
    """The participant `name`. Raises InvalidAsk that mentions `option` if there is none."""
    try:
        return query.participant(name)
    except KeyError:
        raise InvalidAsk(
            f"{option}={name!r} is neither a client nor the server of this query"
        ) from None


def sample_steps(
    query: Query, options: FormatOptions, who: Participant, n: int, now: datetime
) -> tuple[Step, ...]:
    """`n` draft steps with one prompt; they differ only in their seed."""
    messages = colm.draft(who, question_of(query, options))
    return tuple(
        make_step(query, who, "draft", 1, messages, now, index=index) for index in range(n)
    )


class SelectedSample(NamedTuple):
    """The selected text of one participant, by its position, and the reason."""

    sample: int
    because: str
    #: For the answer's `detail`: the extracted answers and their classes.
    detail: dict[str, Any]


def most_frequent(
    texts: Sequence[str | None], options: FormatOptions, question: str
) -> SelectedSample | None:
    """The first text of the most frequent answer; the medoid if the kind is None. None: no text."""
    present = {str(i): text for i, text in enumerate(texts) if text is not None}
    if not present:
        return None
    if options.kind is None:
        choice = medoid(present)
        return SelectedSample(
            int(choice.name), f"sample {choice.name} {choice.because}", {"kind": None}
        )
    votes = votes_of(texts, options.kind, question)
    detail = {
        "kind": options.kind,
        "answers": truncate_answers(votes.answers),
        "classes": [list(members) for members in votes.classes],
        "share": votes.share,
    }
    if not votes.majority:
        first = int(next(iter(present)))
        return SelectedSample(
            first, f"no sample holds an answer of the kind {options.kind}", detail
        )
    because = f"{len(votes.majority)} of {len(texts)} samples give its answer"
    return SelectedSample(votes.majority[0], because, detail)
