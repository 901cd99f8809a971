"""What the strategy `colm` leaves open: the paper's choices, its ablations and ours."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from colm.models.strategies.colm.selection import Selector
from colm.models.strategies.colm.trust import TrustOptions
from colm.models.strategies.format_options import FormatOptions


class ColmOptions(FormatOptions, TrustOptions):
    """Options of the strategy `colm`."""

    #: Rounds of guidance and refinement. The paper uses 2 for single-turn sets, 1 for multi-turn.
    rounds: int = Field(default=2, ge=1, le=8)
    #: How many clients the server selects to draft; None lets every client draft.
    select: int | None = Field(default=None, ge=1, le=64)
    #: Answers a stage needs at its deadline to go on; None is half of those asked, rounded up.
    quorum: int | None = Field(default=None, ge=1, le=64)
    #: Whether the server reads the question beside the drafts. The paper's script does both.
    server_sees_question: bool = True
    #: Whether a client reads its own draft while refining.
    client_sees_own_draft: bool = True
    #: Who selects: the server, or the words that the question shares with each client's domain.
    selector: Selector = "server"
    #: note: the server writes about the drafts. answer: it answers the question itself before it
    #: sees them, and writes what is right, why, and what is wrong in them.
    guidance: Literal["note", "answer"] = "note"
    #: Whether a refine prompt ends with the question, once more: without it small models answer
    #: the note (docs/results).
    restate: bool = True
    #: False: the server's guidance is the answer, and nobody refines.
    refine: bool = True
    #: False: each client refines on the drafts of the others, and no server synthesizes.
    synthesis: bool = True


def needs_server(options: ColmOptions, clients: int) -> bool:
    """Whether a query with so many clients asks a server anything."""
    selects = options.select is not None and options.select < clients
    return options.synthesis or (selects and options.selector == "server")
