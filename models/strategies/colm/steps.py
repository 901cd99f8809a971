"""Steps of `colm` after the drafts: synthesis and refinement. Pure."""

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
    """Whether the server drafts an answer before it reads the drafts."""
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
    """The server's synthesize step for the panel's drafts."""
    query, sees = state.query, options.server_sees_question
    assert query.server is not None  # Colm.check
    question = question_of(query, options)
    if options.guidance == "answer":
        version, own = colm_restated.VERSION, servers_draft(state)
        messages = colm_restated.synthesize(query.server, drafts, question if sees else None, own)
    else:
        version = colm.VERSION
        # Without refinement the guidance is the answer, and needs the format hint.
        question = query.question if options.refine else question
        messages = colm.synthesize(drafts, question if sees else None)
    return make_step(
        query, query.server, "synthesize", round, messages, now, shows=sees, version=version
    )


def servers_draft(state: QueryState) -> str | None:
    """The server's own draft; None without one."""
    texts = [
        s.completion.text
        for s in state.stage("draft", 1)
        if s.step.role == "server" and s.completion is not None
    ]
    return texts[0] if texts else None


def refine_prompt(
    options: ColmOptions,
    client: Participant,
    question: str,
    own_draft: str | None,
    guidance: str,
    selected: bool | None,
) -> tuple[tuple[Turn, ...], str]:
    """A refine prompt and its version; `selected` None without a selection."""
    if options.restate:
        messages = colm_restated.refine(client, question, own_draft, guidance, relevant=selected)
        return messages, colm_restated.VERSION
    relevant = selected is not False
    return colm.refine(client, question, own_draft, guidance, relevant=relevant), colm.VERSION
