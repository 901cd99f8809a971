"""Which clients draft in `colm`: by the server's choice, or by the words of the question. Pure."""

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


def ask_server(query: Query, server: Participant, k: int, now: datetime) -> Step:
    return make_step(query, server, "select", 1, colm.select(query.clients, query.question, k), now)


def servers_choice(query: Query, stage: ClosedStage, k: int) -> Decision:
    """The selection in the server's reply; a reply that cannot be used lets every client draft."""
    names = tuple(c.name for c in query.clients)
    if not stage.completed:
        return _everyone(names, f"no selection, so every client drafts ({stage.reasons()})")
    completion = stage.completed[-1].completion
    assert completion is not None
    return _decided(names, read_selection(completion.text, names, k), "server")


def keywords_choice(query: Query, k: int) -> Decision:
    """The clients whose domain and persona share most with the question; nobody is asked."""
    about = {c.name: f"{c.domain} {c.domain} {c.persona}" for c in query.clients}
    return _decided(tuple(about), select_by_keywords(query.question, about, k), "keywords")


def _decided(names: Sequence[str], selection: Selection, by: Selector) -> Decision:
    if not selection.names:
        return _everyone(names, f"selection {selection.remark}, so every client drafts", by)
    return _decision(selection.names, f"selection {selection.remark}", by, ok=True)


def _everyone(names: Sequence[str], reason: str, by: Selector = "server") -> Decision:
    return _decision(names, reason, by, ok=False)


def _decision(names: Sequence[str], reason: str, by: Selector, *, ok: bool) -> Decision:
    detail = {"clients": list(names), "ok": ok, "selector": by}
    return Decision(kind="selection", round=1, reason=reason, detail=detail)
