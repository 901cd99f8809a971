"""Small first, large where needed: the stages that `cope` and `cascade` go through. Pure.

    stage 1  the client plans (n goals), the client solves each    consensus >= t1: its answer
    stage 2  the server plans (a guideline), the client solves     consensus >= t2: its answer
    stage 3  the same guideline, the server solves once            its answer

A stage is a round. Whether it is accepted is decided by `colm.models.strategies.cope.consensus`;
what ends the query is always `replay` of the samples so far, so a replayed query is a live one. A
sample that failed or never came agrees with nobody, and the query goes on.
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
from colm.models.strategies.cope.report import because, detail_of, stage_decision, without
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
    """How a query defers: everything that its strategy's options say, resolved."""

    client: Participant
    server: Participant | None
    #: The words on the format of an answer.
    hint: str
    stages: tuple[int, ...]
    #: What stages 1 and 2 are held against; stage 3 has none.
    rules: Mapping[int, Rule]
    plans: bool
    #: Temperatures by stage; None is the participant's own.
    plan_at: Mapping[int, float | None]
    solve_at: Mapping[int, float | None]
    max_plan_tokens: int | None = None
    max_answer_tokens: int | None = None
    tests: Tests | None = None


def defer(course: CascadePlan, state: QueryState, now: datetime) -> Move:
    """The next move of a query on this course."""
    if not state.steps:
        return _Step(course, state, now).enter(course.stages[0])
    closed = close_stage(state, now)
    if isinstance(closed, Wait):
        return closed
    turn = _Step(course, closed.state, now, closed)
    last = closed.steps[-1].step
    if last.act == "plan":
        return turn.solve(last.round)
    if last.round == 3:
        return turn.end()
    if last.act != "check" and course.tests is not None:
        return turn.check(last.round, course.tests)
    return turn.decide_stage(last.round)


@dataclass(frozen=True)
class _Step:
    """One decision: the state with its last stage closed, and the moment it is decided at."""

    course: CascadePlan
    state: QueryState
    now: datetime
    closed: ClosedStage | None = None
    decisions: tuple[Decision, ...] = ()

    @property
    def query(self) -> Query:
        return self.state.query

    def enter(self, stage: int) -> Move:
        """Ask for the plans of a stage, or for its solutions where they need none."""
        course = self.course
        if course.plans and stage == 1:
            asked = planning.goal_plan(course.client, self.query.question)
            return self.ask(
                self.step(course.client, "plan", stage, asked, index)
                for index in range(course.rules[1].n)
            )
        if course.plans and not self.guided():
            assert course.server is not None  # the strategy's check
            asked = planning.guideline_plan(course.server, self.query.question)
            return self.ask([self.step(course.server, "plan", stage, asked)])
        return self.solve(stage)

    def solve(self, stage: int) -> Move:
        """Ask for the solutions of a stage; where none can be asked, weigh what there is."""
        course = self.course
        if stage == 3:
            assert course.server is not None  # the strategy's check
            return self.ask([self.solution(course.server, stage, 0, None)])
        goals = self.goals(stage)
        steps = [self.solution(course.client, stage, i, goal) for i, goal in goals.items()]
        return self.ask(steps) if steps else self.decide_stage(stage)

    def goals(self, stage: int) -> dict[int, str | None]:
        """The client's plan for each solution that a stage asks, by its index."""
        everyone = range(self.course.rules[stage].n)
        if not self.course.plans:
            return dict.fromkeys(everyone)
        plans = self.plans_of("client")
        if stage == 1:
            return dict(plans)
        chosen = self.state.decision("consensus", 1)
        return dict.fromkeys(everyone, plans.get(chosen.detail["plan"]) if chosen else None)

    def solution(self, who: Participant, stage: int, index: int, goal: str | None) -> Step:
        guideline = self.plans_of("server").get(0) if stage > 1 else None
        messages = planning.solve(who, self.query.question, self.course.hint, goal, guideline)
        return self.step(who, "solve" if self.course.plans else "draft", stage, messages, index)

    def check(self, stage: int, tests: Tests) -> Move:
        steps = check_steps(self.query, tests, samples_of(self.state, stage), stage, self.now)
        return self.ask(steps) if steps else self.decide_stage(stage)

    def decide_stage(self, stage: int) -> Move:
        """Accept a stage's answer and end, or defer to the next stage."""
        rule = self.course.rules[stage]
        verdict = decide(samples_of(self.state, stage), rule)
        plan = chosen_plan(self.query.seed, verdict.members) if self.course.plans else None
        decision = stage_decision(stage, rule, verdict, plan)
        state = replace(self.state, decisions=(*self.state.decisions, decision))
        turn = _Step(self.course, state, self.now, self.closed, (*self.decisions, decision))
        later = [s for s in self.course.stages if s > stage]
        if 3 in later and self.client_is_gone():
            later = [3]
        return turn.end() if verdict.accepted or not later else turn.enter(later[0])

    def end(self, trouble: str | None = None) -> Move:
        """End with the answer of the stage that was accepted, or the latest that there is."""
        begun = sorted({s.step.round for s in self.state.steps})
        samples = {stage: samples_of(self.state, stage) for stage in begun}
        result = replay(samples, self.course.rules)
        notes = [*([trouble] if trouble else []), *without(self.state)]
        chosen = None
        if result.text is not None:
            who = self.course.server if result.stage == 3 else self.course.client
            assert who is not None  # the strategy's check
            chosen = Chosen(who.name, result.text, because(self.state, result))
        return end(
            self.state,
            self.now,
            chosen,
            failure="; ".join(notes) or "no solution came",
            closes=self.closed.closes if self.closed else (),
            notes=notes,
            detail=detail_of(self.state, self.course.rules, result),
            decisions=self.decisions,
        )

    def ask(self, steps: Iterable[Step]) -> Move:
        if self.now >= query_deadline(self.query):
            return self.end("the query's deadline came before it could go on")
        asked = tuple(steps)
        return Ask(
            steps=asked,
            wake_at=max(s.deadline_at for s in asked),
            closes=self.closed.closes if self.closed else (),
            decisions=self.decisions,
        )

    def step(
        self, who: Participant, act: Act, stage: int, messages: tuple[Turn, ...], index: int = 0
    ) -> Step:
        course, plan = self.course, act == "plan"
        return make_step(
            self.query,
            who,
            act,
            stage,
            messages,
            self.now,
            index=index,
            version=planning.VERSION if course.plans else colm.VERSION,
            temperature=(course.plan_at if plan else course.solve_at).get(stage),
            max_new_tokens=course.max_plan_tokens if plan else course.max_answer_tokens,
            stop=(*who.sampling.stop, *planning.STOP)[:16] if plan else None,
        )

    def client_is_gone(self) -> bool:
        """Whether the client let everything expire: it is not worth another deadline."""
        mine = [s for s in self.state.steps if s.step.participant == self.course.client.name]
        return all(s.outcome is not None and s.outcome.status == "expired" for s in mine)

    def guided(self) -> bool:
        """Whether the server was asked for its guideline, whatever became of it."""
        return any(s.step.act == "plan" and s.step.role == "server" for s in self.state.steps)

    def plans_of(self, role: str) -> dict[int, str]:
        """The plans that the client (by index) or the server (0) wrote; some are empty."""
        return {
            s.step.index: s.completion.text if s.completion else ""
            for s in self.state.steps
            if s.step.act == "plan" and s.step.role == role and (s.completion or _empty(s))
        }


def _empty(s: StepState) -> bool:
    """Whether it came without a text: a model that has no plan can solve all the same."""
    error = s.outcome.error if s.outcome else None
    return error is not None and error.kind == NoText.__name__
