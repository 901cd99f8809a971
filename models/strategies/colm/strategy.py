"""CoLM (arXiv 2511.06991, Algorithm 1): draft, synthesize, refine; one answer per client.

    select (optional) -> draft -> [synthesize -> refine] x rounds -> answer
    synthesis=False:     draft -> [refine on the others' drafts] x rounds -> answer
    refine=False:        draft -> synthesize -> the guidance is the answer

Where the paper leaves a choice open it is an option here. The caller is given the refined answer
that agrees most with the others (`colm.models.answers.selection.medoid`); every client keeps
its own.

A stage is over when every step of it has an outcome, or at its deadline. Then:
drafts and refinements below the quorum, or no guidance, end the rounds: the query is answered from
what there is and marked as degraded, or fails with every reason if no draft came. A client that let
a step expire is asked again, but the others do not wait for it.
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
from colm.models.strategies.colm.selection import ask_server, keywords_choice, servers_choice
from colm.models.strategies.colm.steps import refined_on, server_drafts, synthesis
from colm.models.strategies.colm.trust import discounted
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
    """The strategy `colm`."""

    options = ColmOptions

    def check(self, query: Query) -> None:
        """Raises InvalidAsk when the query's participants cannot carry the options."""
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
            return _Turn(state, now).begin()
        stage = close_stage(state, now)
        if isinstance(stage, Wait):
            return stage
        turn = _Turn(stage.state, now, stage)
        last = stage.steps[-1].step
        if last.act == "select":
            return turn.after_select()
        if last.act == "draft":
            return turn.after_panel(round=1)
        if last.act == "synthesize":
            return turn.after_synthesis(last.round)
        return turn.after_panel(round=last.round + 1)


@dataclass(frozen=True)
class _Turn:
    """One decision: the state with its last stage closed, and the moment it is decided at."""

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
            return self.ask_selected(keywords_choice(self.query, k))
        return self.ask(ask_server(self.query, self.server, k, self.now))

    def after_select(self) -> Move:
        assert self.stage is not None
        assert self.options.select is not None
        return self.ask_selected(servers_choice(self.query, self.stage, self.options.select))

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
        """The drafts of `round` are in: synthesize them, or end."""
        assert self.stage is not None
        done = [s for s in self.stage.completed if s.step.role == "client"]
        asked = sum(s.step.role == "client" for s in self.stage.steps)
        needed = min(self.options.quorum or ceil(asked / 2), asked)
        if len(done) < needed:
            what = "drafted" if round == 1 else "refined"
            note = f"only {len(done)} of {asked} clients {what}, {needed} needed"
            return self.end(f"{note} ({self.stage.reasons()})")
        if round > self.options.rounds or not (self.options.refine or self.options.synthesis):
            return self.end()
        drafts = [
            colm.LabelledDraft(self.query.participant(s.step.participant), s.completion.text)
            for s in done
            if s.completion is not None
        ]
        without = discounted({d.client.name: d.text for d in drafts}, self.options)
        drafts = [d for d in drafts if d.client.name not in without]
        clients = [d.client.name for d in drafts]
        left_out = [f"{name}: {why}" for name, why in without.items()]
        missing = "; ".join(filter(None, [self.stage.reasons(), *left_out]))
        panel = Decision(
            kind="panel",
            round=round,
            reason=f"{len(done)} of {asked} drafts" + (f"; without {missing}" if missing else ""),
            detail={"clients": clients},
        )
        if self.options.synthesis:
            return self.ask(
                synthesis(self.state, self.options, round, drafts, self.now), decisions=(panel,)
            )
        steps = [self.refinement(c, round, drafts) for c in self.query.clients]
        return self.ask(*steps, decisions=(panel,))

    def after_synthesis(self, round: int) -> Move:
        """Guidance goes to every client, selected or not, silent until now or not."""
        assert self.stage is not None
        if not self.stage.completed:
            return self.end(f"no guidance in round {round} ({self.stage.reasons()})")
        completion = self.stage.completed[-1].completion
        assert completion is not None
        if not self.options.refine:
            return self.end(guidance=completion.text)
        return self.ask(*(self.refinement(c, round, completion.text) for c in self.query.clients))

    def refinement(
        self, client: Participant, round: int, told: str | list[colm.LabelledDraft]
    ) -> Step:
        """A client's next answer: in the light of guidance, or of the others' drafts."""
        own = self.written.get(client.name) if self.options.client_sees_own_draft else None
        chosen = client.name in self.selected() if self.selected() else None
        asked = with_descriptions(
            self.query, client, question_of(self.query, self.options), self.seen
        )
        if isinstance(told, str):
            messages, version = refined_on(self.options, client, asked, own, told, chosen)
            return make_step(
                self.query, client, "refine", round, messages, self.now, version=version
            )
        others = [d for d in told if own is None or d.client.name != client.name]
        messages = refine_on_drafts(
            client, asked, own, others or told, relevant=chosen is not False
        )
        return make_step(
            self.query, client, "refine", round, messages, self.now, version=PANELS_VERSION
        )

    @cached_property
    def written(self) -> dict[str, str]:
        return latest_texts(self.state)

    @cached_property
    def seen(self) -> list[colm.LabelledDraft]:
        """What those who draft have written last."""
        able = drafters(self.query)
        return [colm.LabelledDraft(c, self.written[c.name]) for c in able if c.name in self.written]

    def selected(self) -> tuple[str, ...]:
        """The clients the server selected; empty where it selected none."""
        decision = self.state.decision("selection", 1)
        return tuple(decision.detail["clients"]) if decision and decision.detail["ok"] else ()

    def ask(self, *steps: Step, decisions: tuple[Decision, ...] = ()) -> Move:
        if self.now >= query_deadline(self.query):
            late = f"the query's deadline came before it could {steps[0].act}"
            reasons = self.stage.reasons() if self.stage else ""
            return self.end(f"{late} ({reasons})" if reasons else late)
        return Ask(
            steps=steps,
            wake_at=max(s.deadline_at for s in steps),
            closes=self.stage.closes if self.stage else (),
            decisions=decisions,
        )

    def counted(self, answers: dict[str, str], drafts: dict[str, str]) -> dict[str, str]:
        """The answers among which one is chosen."""
        without = discounted({n: drafts.get(n, text) for n, text in answers.items()}, self.options)
        return {name: text for name, text in answers.items() if name not in without}

    def end(self, trouble: str | None = None, *, guidance: str | None = None) -> Finish:
        """Answer with the refined answers; with the drafts where nobody refined; else fail.

        `guidance` is the answer where nobody is to refine.
        """
        answers = {c.name: client_answer(self.state, c.name) for c in self.query.clients}
        refined = {n: a.refined for n, a in answers.items() if a.refined is not None}
        drafts = {n: a.draft for n, a in answers.items() if a.draft is not None}
        selection = self.state.decision("selection", 1)
        notes = [selection.reason] if selection and not selection.detail["ok"] else []
        notes += [trouble] if trouble else []
        told = self.stage.steps if self.stage and trouble else ()
        notes += missing_notes(self.state, told)
        chosen = None
        if guidance is not None:
            chosen = Chosen(self.server.name, guidance, "the server's synthesis: nobody refines")
        return finish(
            self.state,
            self.now,
            candidates=self.counted(refined or drafts, drafts),
            chosen=chosen,
            kind=self.options.kind,
            failure=trouble if not drafts and not refined else None,
            closes=self.stage.closes if self.stage else (),
            notes=notes,
            selected=self.selected() or None,
        )
