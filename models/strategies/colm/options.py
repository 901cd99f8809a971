"""Options of the strategy `colm`: the paper's choices, its ablations, and our additions."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from colm.models.strategies.colm.selection import Selector
from colm.models.strategies.colm.trust import TrustOptions
from colm.models.strategies.format_options import FormatOptions


class ColmOptions(FormatOptions, TrustOptions):
    #: Rounds of guidance and refinement. The paper uses 2 for single-turn sets, 1 for multi-turn.
    rounds: int = Field(default=2, ge=1, le=8)
    #: Number of clients selected to draft; None lets every client draft.
    select: int | None = Field(default=None, ge=1, le=64)
    #: Answers that a stage needs at its deadline; None is half of its clients, rounded up.
    quorum: int | None = Field(default=None, ge=1, le=64)
    #: Whether the server reads the question with the drafts. The paper's script has both variants.
    server_sees_question: bool = True
    #: Whether a client reads its own draft while refining.
    client_sees_own_draft: bool = True
    #: Selection by the server, or by the words that the question and a client's domain share.
    selector: Selector = "server"
    #: note: the server writes about the drafts. answer: it answers the question before it reads
    #: them, and writes the right answer, the reason, and the mistakes in the drafts.
    guidance: Literal["note", "answer"] = "note"
    #: Whether a refine prompt repeats the question at its end: without it small models answer the
    #: note (docs/how-to/evaluate.md).
    restate: bool = True
    #: False: the server's guidance is the answer; no client refines.
    refine: bool = True
    #: False: each client refines on the drafts of the others, and no server synthesizes.
    synthesis: bool = True


def needs_server(options: ColmOptions, clients: int) -> bool:
    """Whether a query with this number of clients has steps for a server."""
    selects = options.select is not None and options.select < clients
    return options.synthesis or (selects and options.selector == "server")
