"""What `colm` asks its server and its clients once the drafts are in. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from colm.models.messages import Participant, Query, Step, Turn
from colm.models.prompts import colm, colm_restated
from colm.models.strategies.base import QueryState
from colm.models.strategies.colm.options import ColmOptions
from colm.models.strategies.format_options import question_of
from colm.models.strategies.stages import make_step


def server_drafts(query: Query, options: ColmOptions) -> bool:
    """Whether the server answers, too, before it reads the drafts."""
    return (
        options.synthesis
        and options.guidance == "answer"
        and options.server_sees_question
        and query.server is not None
        and (not query.images or query.server.sees)
    )


def synthesis(
    state: QueryState,
    options: ColmOptions,
    round: int,
    drafts: Sequence[colm.LabelledDraft],
    now: datetime,
) -> Step:
    """The server's step on the panel's drafts."""
    query, sees = state.query, options.server_sees_question
    assert query.server is not None  # Colm.check
    asked = question_of(query, options)
    if options.guidance == "answer":
        version, own = colm_restated.VERSION, servers_draft(state)
        seen = asked if sees else None
        messages = colm_restated.synthesize(query.server, drafts, seen, own)
    else:
        version = colm.VERSION
        # Where nobody refines, the guidance is what is graded: it has to look like an answer.
        plain = query.question if options.refine else asked
        messages = colm.synthesize(drafts, plain if sees else None)
    return make_step(
        query, query.server, "synthesize", round, messages, now, shows=sees, version=version
    )


def servers_draft(state: QueryState) -> str | None:
    """What the server has answered before it read the drafts."""
    texts = [
        s.completion.text
        for s in state.stage("draft", 1)
        if s.step.role == "server" and s.completion is not None
    ]
    return texts[0] if texts else None


def refined_on(
    options: ColmOptions,
    client: Participant,
    asked: str,
    own_draft: str | None,
    guidance: str,
    chosen: bool | None,
) -> tuple[tuple[Turn, ...], str]:
    """A refine prompt and its version; `chosen` None where no one was selected."""
    if options.restate:
        messages = colm_restated.refine(client, asked, own_draft, guidance, relevant=chosen)
        return messages, colm_restated.VERSION
    relevant = chosen is not False
    return colm.refine(client, asked, own_draft, guidance, relevant=relevant), colm.VERSION
