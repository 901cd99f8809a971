"""Questions that show images: who sees them, and what the others are told instead. Pure.

An image stands in the first turn of the user's, before the question. So a refinement still begins
with its draft's prompt, image and all, and nothing is looked at twice.
"""

from __future__ import annotations

from collections.abc import Sequence

from colm.models.errors import InvalidAsk
from colm.models.messages import Act, Participant, Query, Turn
from colm.models.prompts.colm import LabelledDraft, labelled

#: Acts that are about something else than the question.
_BLIND_ACTS: frozenset[Act] = frozenset({"select", "check"})
#: Strategies that ask the query's first client, or the one that they are told, and no other.
_ONE_ANSWERS = frozenset({"single", "vote"})


def with_images(
    query: Query, participant: Participant, act: Act, messages: tuple[Turn, ...]
) -> tuple[Turn, ...]:
    """`messages` with the query's images, for a participant that sees."""
    if not query.images or not participant.sees or act in _BLIND_ACTS:
        return messages
    first = next(place for place, turn in enumerate(messages) if turn.role == "user")
    seen = messages[first].model_copy(update={"images": query.images})
    return (*messages[:first], seen, *messages[first + 1 :])


def drafters(query: Query) -> tuple[Participant, ...]:
    """The clients that can answer before they have read anything."""
    return tuple(c for c in query.clients if c.sees) if query.images else query.clients


def with_descriptions(
    query: Query, client: Participant, asked: str, drafts: Sequence[LabelledDraft]
) -> str:
    """The question as `client` is asked it: with what others saw, where it cannot see itself."""
    others = [d for d in drafts if d.client.name != client.name]
    if not query.images or client.sees or not others:
        return asked
    return (
        "The question is about an image that you cannot see. Others, who see it, have written:\n\n"
        f"{labelled(others)}\n\nThe question:\n{asked}"
    )


def check_vision_support(query: Query) -> None:
    """Raises InvalidAsk, naming who cannot see, where the strategy would show it an image."""
    if not query.images:
        return
    colm = query.strategy == "colm"
    blind = [p.name for p in _asked(query) if not p.sees and not (colm and p.reads_descriptions)]
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


def _asked(query: Query) -> tuple[Participant, ...]:
    """Those whom the strategy may show the question. `colm`'s server can do with the drafts."""
    if query.strategy in _ONE_ANSWERS:
        name = query.options.get("participant")
        return (query.participant(name),) if name else query.clients[:1]
    if query.strategy in ("colm", "resample") or query.server is None:
        return query.clients
    return (*query.clients, query.server)
