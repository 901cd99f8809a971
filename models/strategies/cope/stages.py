"""The stages of `cope` and `cascade`: the small model first, the large one on deferral. Pure.

    stage 1  the client plans (n goals), the client solves each    consensus >= t1: its answer
    stage 2  the server plans (a guideline), the client solves     consensus >= t2: its answer
    stage 3  the same guideline, the server solves once            its answer

A stage is a round. `colm.models.strategies.cope.consensus` decides whether it is accepted. The end
of a query is always `replay` of its samples, so that replayed and live queries agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from colm.models.errors import NoText
from colm.models.messages import Act, Participant, Query, Step, Turn
from colm.models.prompts import colm, planning
from colm.models.strategies.base import Ask, Decision, Move, QueryState, StepState, Wait
from colm.models.strategies.cope.code_checks import Tests, check_steps
from colm.models.strategies.cope.consensus import Rule, chosen_plan, decide, replay, samples_of
from colm.models.strategies.cope.report import because, detail_of, missing_steps, stage_decision
from colm.models.strategies.stages import (
    Chosen,
    ClosedStage,
    close_stage,
    end,
    make_step,
    query_deadline,
)


@dataclass(frozen=True, kw_only=True)
class CascadePlan:
    """The resolved options of a query of `cope` or `cascade`."""

    client: Participant
    server: Participant | None
    #: Format hint of the answer.
    hint: str
    stages: tuple[int, ...]
    #: Acceptance rules of stages 1 and 2; stage 3 has none.
    rules: Mapping[int, Rule]
    plans: bool
    #: Temperatures by stage; None is the participant's own.
    plan_at: Mapping[int, float | None]
    solve_at: Mapping[int, float | None]
    max_plan_tokens: int | None = None
    max_answer_tokens: int | None = None
    tests: Tests | None = None


def next_stage(plan: CascadePlan, state: QueryState, now: datetime) -> Move:
    if not state.steps:
        return _Transition(plan, state, now).enter(plan.stages[0])
    closed = close_stage(state, now)
    if isinstance(closed, Wait):
        return closed
    transition = _Transition(plan, closed.state, now, closed)
    last = closed.steps[-1].step
    if last.act == "plan":
        return transition.solve(last.round)
    if last.round == 3:
        return transition.end()
    if last.act != "check" and plan.tests is not None:
        return transition.check(last.round, plan.tests)
    return transition.decide_stage(last.round)


@dataclass(frozen=True)
class _Transition:
    """The computation of one move: the state with its last stage closed, and the time."""

    plan: CascadePlan
    state: QueryState
    now: datetime
    closed: ClosedStage | None = None
    decisions: tuple[Decision, ...] = ()

    @property
    def query(self) -> Query:
        return self.state.query

    def enter(self, stage: int) -> Move:
        """Ask for the plans of a stage, or for its solutions if it needs no plans."""
        plan, question = self.plan, self.query.question
        if plan.plans and stage == 1:
            messages = planning.goal_plan(plan.client, question)
            return self.ask(
                self.step(plan.client, "plan", stage, messages, index)
                for index in range(plan.rules[1].n)
            )
        if plan.plans and not self.has_guideline_step():
            assert plan.server is not None  # the strategy's check
            messages = planning.guideline_plan(plan.server, question)
            return self.ask([self.step(plan.server, "plan", stage, messages)])
        return self.solve(stage)

    def solve(self, stage: int) -> Move:
        """Ask for the solutions of a stage; without plans to follow, decide the stage."""
        plan = self.plan
        if stage == 3:
            assert plan.server is not None  # the strategy's check
            return self.ask([self.solution(plan.server, stage, 0, None)])
        goals = self.goals(stage)
        steps = [self.solution(plan.client, stage, i, goal) for i, goal in goals.items()]
        return self.ask(steps) if steps else self.decide_stage(stage)

    def goals(self, stage: int) -> dict[int, str | None]:
        """The client's plan for each solution of a stage, by the solution's index."""
        indexes = range(self.plan.rules[stage].n)
        if not self.plan.plans:
            return dict.fromkeys(indexes)
        plans = self.plans_of("client")
        if stage == 1:
            return dict(plans)
        chosen = self.state.decision("consensus", 1)
        return dict.fromkeys(indexes, plans.get(chosen.detail["plan"]) if chosen else None)

    def solution(self, who: Participant, stage: int, index: int, goal: str | None) -> Step:
        guideline = self.plans_of("server").get(0) if stage > 1 else None
        messages = planning.solve(who, self.query.question, self.plan.hint, goal, guideline)
        return self.step(who, "solve" if self.plan.plans else "draft", stage, messages, index)

    def check(self, stage: int, tests: Tests) -> Move:
        steps = check_steps(self.query, tests, samples_of(self.state, stage), stage, self.now)
        return self.ask(steps) if steps else self.decide_stage(stage)

    def decide_stage(self, stage: int) -> Move:
        """Accept a stage's answer and end, or defer to the next stage."""
        rule = self.plan.rules[stage]
        verdict = decide(samples_of(self.state, stage), rule)
        index = chosen_plan(self.query.seed, verdict.members) if self.plan.plans else None
        decision = stage_decision(stage, rule, verdict, index)
        state = replace(self.state, decisions=(*self.state.decisions, decision))
        after = replace(self, state=state, decisions=(*self.decisions, decision))
        later = [s for s in self.plan.stages if s > stage]
        if 3 in later and self.client_is_gone():
            later = [3]
        return after.end() if verdict.accepted or not later else after.enter(later[0])

    def end(self, trouble: str | None = None) -> Move:
        """End with the answer of the accepted stage, or with the latest answer."""
        begun = sorted({s.step.round for s in self.state.steps})
        samples = {stage: samples_of(self.state, stage) for stage in begun}
        result = replay(samples, self.plan.rules)
        notes = [*([trouble] if trouble else []), *missing_steps(self.state)]
        chosen = None
        if result.text is not None:
            who = self.plan.server if result.stage == 3 else self.plan.client
            assert who is not None  # the strategy's check
            chosen = Chosen(who.name, result.text, because(self.state, result))
        return end(
            self.state,
            self.now,
            chosen,
            failure="; ".join(notes) or "no solution came",
            closes=self.closed.closes if self.closed else (),
            notes=notes,
            detail=detail_of(self.state, self.plan.rules, result),
            decisions=self.decisions,
        )

    def ask(self, steps: Iterable[Step]) -> Move:
        if self.now >= query_deadline(self.query):
            return self.end("the query's deadline came before it could go on")
        batch = tuple(steps)
        return Ask(
            steps=batch,
            wake_at=max(s.deadline_at for s in batch),
            closes=self.closed.closes if self.closed else (),
            decisions=self.decisions,
        )

    def step(
        self, who: Participant, act: Act, stage: int, messages: tuple[Turn, ...], index: int = 0
    ) -> Step:
        plan, plans = self.plan, act == "plan"
        return make_step(
            self.query,
            who,
            act,
            stage,
            messages,
            self.now,
            index=index,
            version=planning.VERSION if plan.plans else colm.VERSION,
            temperature=(plan.plan_at if plans else plan.solve_at).get(stage),
            max_new_tokens=plan.max_plan_tokens if plans else plan.max_answer_tokens,
            stop=(*who.sampling.stop, *planning.STOP)[:16] if plans else None,
        )

    def client_is_gone(self) -> bool:
        mine = [s for s in self.state.steps if s.step.participant == self.plan.client.name]
        return all(s.outcome is not None and s.outcome.status == "expired" for s in mine)

    def has_guideline_step(self) -> bool:
        return any(s.step.act == "plan" and s.step.role == "server" for s in self.state.steps)

    def plans_of(self, role: str) -> dict[int, str]:
        """Texts of the client's plans (by index) or the server's plan (0); some are empty."""
        return {
            s.step.index: s.completion.text if s.completion else ""
            for s in self.state.steps
            if s.step.act == "plan" and s.step.role == role and (s.completion or _empty(s))
        }


def _empty(s: StepState) -> bool:
    """Whether the model returned no text: an empty plan does not prevent a solution."""
    error = s.outcome.error if s.outcome else None
    return error is not None and error.kind == NoText.__name__
