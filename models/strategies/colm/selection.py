"""Selection of the clients that draft in `colm`: by the server or by keywords. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from colm.models.answers.selection import Selection, read_selection, select_by_keywords
from colm.models.messages import Participant, Query, Step
from colm.models.prompts import colm
from colm.models.strategies.base import Decision
from colm.models.strategies.stages import ClosedStage, make_step

Selector = Literal["server", "keywords"]


def selection_step(query: Query, server: Participant, k: int, now: datetime) -> Step:
    return make_step(query, server, "select", 1, colm.select(query.clients, query.question, k), now)


def selection_by_server(query: Query, stage: ClosedStage, k: int) -> Decision:
    """The selection in the server's reply; after an unusable reply every client drafts."""
    names = tuple(c.name for c in query.clients)
    if not stage.completed:
        reason = f"no selection, so every client drafts ({stage.reasons()})"
        return _decision(names, reason, "server", ok=False)
    completion = stage.completed[-1].completion
    assert completion is not None
    return _decided(names, read_selection(completion.text, names, k), "server")


def selection_by_keywords(query: Query, k: int) -> Decision:
    """The clients whose domain and persona are most similar to the question; no step is needed."""
    about = {c.name: f"{c.domain} {c.domain} {c.persona}" for c in query.clients}
    return _decided(tuple(about), select_by_keywords(query.question, about, k), "keywords")


def _decided(names: Sequence[str], selection: Selection, by: Selector) -> Decision:
    reason = f"selection {selection.remark}"
    if not selection.names:
        return _decision(names, f"{reason}, so every client drafts", by, ok=False)
    return _decision(selection.names, reason, by, ok=True)


def _decision(names: Sequence[str], reason: str, by: Selector, *, ok: bool) -> Decision:
    detail = {"clients": list(names), "ok": ok, "selector": by}
    return Decision(kind="selection", round=1, reason=reason, detail=detail)
