"""Questions with images: placement in the prompt, and descriptions for blind participants. Pure.

Images are part of the first user turn. A refine prompt therefore still begins with the draft
prompt, and a prefix cache covers the image.
"""

from __future__ import annotations

from collections.abc import Sequence

from colm.models.errors import InvalidAsk
from colm.models.messages import Act, Participant, Query, Turn
from colm.models.prompts.colm import LabelledDraft, format_drafts

#: Acts whose prompts never show the images.
_BLIND_ACTS: frozenset[Act] = frozenset({"select", "check"})
#: Strategies with one participant: option `participant`, or the query's first client.
_ONE_PARTICIPANT = frozenset({"single", "vote"})


def with_images(
    query: Query, participant: Participant, act: Act, messages: tuple[Turn, ...]
) -> tuple[Turn, ...]:
    """`messages` with the query's images in the first user turn, if the participant sees."""
    if not query.images or not participant.sees or act in _BLIND_ACTS:
        return messages
    first = next(index for index, turn in enumerate(messages) if turn.role == "user")
    turn = messages[first].model_copy(update={"images": query.images})
    return (*messages[:first], turn, *messages[first + 1 :])


def drafters(query: Query) -> tuple[Participant, ...]:
    """The clients that can draft: with images, only those that see."""
    return tuple(c for c in query.clients if c.sees) if query.images else query.clients


def with_descriptions(
    query: Query, client: Participant, question: str, drafts: Sequence[LabelledDraft]
) -> str:
    """`question`, for a client that does not see with the drafts of clients that do."""
    others = [d for d in drafts if d.client.name != client.name]
    if not query.images or client.sees or not others:
        return question
    return (
        "The question is about an image that you cannot see. Others can see it and wrote:\n\n"
        f"{format_drafts(others)}\n\nThe question:\n{question}"
    )


def check_vision_support(query: Query) -> None:
    """Raises InvalidAsk with the names of participants that would need to see and do not."""
    if not query.images:
        return
    colm = query.strategy == "colm"
    blind = [p.name for p in _readers(query) if not p.sees and not (colm and p.reads_descriptions)]
    if blind:
        instead = (
            "; or set reads_descriptions = true for it, so that it reads what the others saw"
            if colm
            else f"; strategy {query.strategy!r} takes none that only reads descriptions"
        )
        raise InvalidAsk(
            f"the question has an image, and {', '.join(blind)} cannot see: leave it out"
            f" (clients=[...]), or set sees = true where its model can{instead}"
        )
    if colm and not drafters(query):
        raise InvalidAsk("the question has an image, and no client of this query sees")


def _readers(query: Query) -> tuple[Participant, ...]:
    """Participants that read the question; `colm`'s server can work from the drafts alone."""
    if query.strategy in _ONE_PARTICIPANT:
        name = query.options.get("participant")
        return (query.participant(name),) if name else query.clients[:1]
    if query.strategy in ("colm", "resample") or query.server is None:
        return query.clients
    return (*query.clients, query.server)
