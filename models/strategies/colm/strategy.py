"""CoLM (arXiv 2511.06991, Algorithm 1): draft, synthesize, refine; one answer per client.

    select (optional) -> draft -> [synthesize -> refine] x rounds -> answer
    synthesis=False:     draft -> [refine on the others' drafts] x rounds -> answer
    refine=False:        draft -> synthesize -> the guidance is the answer

Choices that the paper leaves open are options. The caller's answer is the refined answer that
agrees most with the others (`colm.models.answers.selection.medoid`); every client has its own.

A stage ends when all its steps have outcomes, or at its deadline. Below the quorum, or without
guidance, the rounds end: the answer comes from the texts so far and is marked as degraded; without
any draft the query fails. A client whose step expired is asked again, but not waited for.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from math import ceil

from colm.models.errors import InvalidAsk
from colm.models.messages import Participant, Query, Step
from colm.models.prompts import colm
from colm.models.prompts.panels import VERSION as PANELS_VERSION
from colm.models.prompts.panels import refine_on_drafts
from colm.models.strategies.answer_report import client_answer, latest_texts, missing_notes
from colm.models.strategies.base import Ask, Decision, Finish, Move, QueryState, Wait
from colm.models.strategies.colm.options import ColmOptions, needs_server
from colm.models.strategies.colm.selection import (
    selection_by_keywords,
    selection_by_server,
    selection_step,
)
from colm.models.strategies.colm.steps import refine_prompt, server_drafts, synthesis
from colm.models.strategies.colm.trust import excluded_clients
from colm.models.strategies.format_options import question_of
from colm.models.strategies.repeated_sampling import sample_steps
from colm.models.strategies.stages import (
    Chosen,
    ClosedStage,
    close_stage,
    finish,
    make_step,
    query_deadline,
)
from colm.models.vision import drafters, with_descriptions


class Colm:
    options = ColmOptions

    def check(self, query: Query) -> None:
        options = ColmOptions.model_validate(query.options)
        if query.server is None and needs_server(options, len(query.clients)):
            raise InvalidAsk("strategy 'colm' needs a server; none is configured")
        if not query.clients:
            raise InvalidAsk("strategy 'colm' needs at least one client; none is configured")
        for name, value in (("select", options.select), ("quorum", options.quorum)):
            if value is not None and value > len(query.clients):
                raise InvalidAsk(
                    f"{name}={value} is more than the {len(query.clients)} clients of this query"
                )

    def next_move(self, state: QueryState, now: datetime) -> Move:
        if not state.steps:
            return _Transition(state, now).begin()
        stage = close_stage(state, now)
        if isinstance(stage, Wait):
            return stage
        transition = _Transition(stage.state, now, stage)
        last = stage.steps[-1].step
        if last.act == "select":
            return transition.after_select()
        if last.act == "draft":
            return transition.after_panel(round=1)
        if last.act == "synthesize":
            return transition.after_synthesis(last.round)
        return transition.after_panel(round=last.round + 1)


@dataclass(frozen=True)
class _Transition:
    """The computation of one move: the state with its last stage closed, and the time."""

    state: QueryState
    now: datetime
    stage: ClosedStage | None = None

    @property
    def query(self) -> Query:
        return self.state.query

    @property
    def options(self) -> ColmOptions:
        return ColmOptions.model_validate(self.query.options)

    @property
    def server(self) -> Participant:
        server = self.query.server
        assert server is not None  # Colm.check
        return server

    def begin(self) -> Move:
        k = self.options.select
        if k is None or k >= len(self.query.clients):
            return self.ask_drafts(drafters(self.query))
        if self.options.selector == "keywords":
            return self.ask_selected(selection_by_keywords(self.query, k))
        return self.ask(selection_step(self.query, self.server, k, self.now))

    def after_select(self) -> Move:
        assert self.stage is not None
        assert self.options.select is not None
        return self.ask_selected(selection_by_server(self.query, self.stage, self.options.select))

    def ask_selected(self, decision: Decision) -> Move:
        names = decision.detail["clients"]
        able = drafters(self.query)
        return self.ask_drafts([c for c in able if c.name in names] or able, decision)

    def ask_drafts(
        self, clients: tuple[Participant, ...] | list[Participant], *why: Decision
    ) -> Move:
        who = [*clients, self.server] if server_drafts(self.query, self.options) else clients
        steps = [
            step for w in who for step in sample_steps(self.query, self.options, w, 1, self.now)
        ]
        return self.ask(*steps, decisions=why)

    def after_panel(self, round: int) -> Move:
        """After the drafts of `round`: synthesize, refine on the drafts, or end."""
        assert self.stage is not None
        done = [s for s in self.stage.completed if s.step.role == "client"]
        total = sum(s.step.role == "client" for s in self.stage.steps)
        quorum = min(self.options.quorum or ceil(total / 2), total)
        if len(done) < quorum:
            what = "drafted" if round == 1 else "refined"
            note = f"only {len(done)} of {total} clients {what}, {quorum} needed"
            return self.end(f"{note} ({self.stage.reasons()})")
        if round > self.options.rounds or not (self.options.refine or self.options.synthesis):
            return self.end()
        drafts = [
            colm.LabelledDraft(self.query.participant(s.step.participant), s.completion.text)
            for s in done
            if s.completion is not None
        ]
        excluded = excluded_clients({d.client.name: d.text for d in drafts}, self.options)
        drafts = [d for d in drafts if d.client.name not in excluded]
        reasons = [self.stage.reasons(), *(f"{name}: {why}" for name, why in excluded.items())]
        missing = "; ".join(filter(None, reasons))
        panel = Decision(
            kind="panel",
            round=round,
            reason=f"{len(done)} of {total} drafts" + (f"; without {missing}" if missing else ""),
            detail={"clients": [d.client.name for d in drafts]},
        )
        if self.options.synthesis:
            return self.ask(
                synthesis(self.state, self.options, round, drafts, self.now), decisions=(panel,)
            )
        steps = [self.refinement(c, round, drafts) for c in self.query.clients]
        return self.ask(*steps, decisions=(panel,))

    def after_synthesis(self, round: int) -> Move:
        """The guidance goes to every client, also to those not selected or expired before."""
        assert self.stage is not None
        if not self.stage.completed:
            return self.end(f"no guidance in round {round} ({self.stage.reasons()})")
        completion = self.stage.completed[-1].completion
        assert completion is not None
        if not self.options.refine:
            return self.end(guidance=completion.text)
        return self.ask(*(self.refinement(c, round, completion.text) for c in self.query.clients))

    def refinement(
        self, client: Participant, round: int, material: str | list[colm.LabelledDraft]
    ) -> Step:
        """A client's refine step, on guidance (str) or on drafts (list)."""
        own = self.latest.get(client.name) if self.options.client_sees_own_draft else None
        selected = client.name in self.selected() if self.selected() else None
        question = with_descriptions(
            self.query, client, question_of(self.query, self.options), self.descriptions
        )
        if isinstance(material, str):
            messages, version = refine_prompt(
                self.options, client, question, own, material, selected
            )
        else:
            others = [d for d in material if own is None or d.client.name != client.name]
            relevant, version = selected is not False, PANELS_VERSION
            messages = refine_on_drafts(
                client, question, own, others or material, relevant=relevant
            )
        return make_step(self.query, client, "refine", round, messages, self.now, version=version)

    @cached_property
    def latest(self) -> dict[str, str]:
        return latest_texts(self.state)

    @cached_property
    def descriptions(self) -> list[colm.LabelledDraft]:
        """The latest text of each client that can draft."""
        able = drafters(self.query)
        return [colm.LabelledDraft(c, self.latest[c.name]) for c in able if c.name in self.latest]

    def selected(self) -> tuple[str, ...]:
        decision = self.state.decision("selection", 1)
        return tuple(decision.detail["clients"]) if decision and decision.detail["ok"] else ()

    def ask(self, *steps: Step, decisions: tuple[Decision, ...] = ()) -> Move:
        if self.now >= query_deadline(self.query):
            reason = f"the query's deadline came before it could {steps[0].act}"
            reasons = self.stage.reasons() if self.stage else ""
            return self.end(f"{reason} ({reasons})" if reasons else reason)
        return Ask(
            steps=steps,
            wake_at=max(s.deadline_at for s in steps),
            closes=self.stage.closes if self.stage else (),
            decisions=decisions,
        )

    def candidates(self, answers: dict[str, str], drafts: dict[str, str]) -> dict[str, str]:
        texts = {n: drafts.get(n, text) for n, text in answers.items()}
        excluded = excluded_clients(texts, self.options)
        return {name: text for name, text in answers.items() if name not in excluded}

    def end(self, trouble: str | None = None, *, guidance: str | None = None) -> Finish:
        """End with the refined answers, or the drafts, or fail; `guidance` if it is the answer."""
        answers = {c.name: client_answer(self.state, c.name) for c in self.query.clients}
        refined = {n: a.refined for n, a in answers.items() if a.refined is not None}
        drafts = {n: a.draft for n, a in answers.items() if a.draft is not None}
        selection = self.state.decision("selection", 1)
        notes = [selection.reason] if selection and not selection.detail["ok"] else []
        notes += [trouble] if trouble else []
        notes += missing_notes(self.state, self.stage.steps if self.stage and trouble else ())
        chosen = None
        if guidance is not None:
            chosen = Chosen(self.server.name, guidance, "the server's synthesis: nobody refines")
        return finish(
            self.state,
            self.now,
            candidates=self.candidates(refined or drafts, drafts),
            chosen=chosen,
            kind=self.options.kind,
            failure=trouble if not drafts and not refined else None,
            closes=self.stage.closes if self.stage else (),
            notes=notes,
            selected=self.selected() or None,
        )
