"""`colm doctor --deep`: one short question through the whole site, and where it got stuck.

Every participant that somebody runs is asked for a few tokens: the clients and the first server by
the strategy `colm`, each further server by `single`. The queries are real ones, and stay in the
record under ids that begin with `probe-`; they count for nobody's reliability.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine

from colm.db.connection import connect
from colm.db.reads import answers, history
from colm.models.client_reliability import PROBE
from colm.models.messages import Step
from colm.models.strategies.base import Outcome
from colm.tasks import ask
from colm.tasks.broker.queue_stats import queue_stats, queues_with_consumers
from colm.tasks.broker.topology import ASK, Topology, topology_of
from colm.tasks.config.settings import Settings
from colm.workers.doctor.findings import Finding, Findings, ok, problem, warning

QUESTION = "Say OK."
#: The longest completion (tokens).
TOKENS = 8
#: How long the whole of it may take, and how long a coordinator to record the question (seconds).
WITHIN = 120.0
TAKEN_WITHIN = 15.0
LOOK_EVERY = 0.2


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A question that was sent, and to whom its steps should go."""

    query_id: str
    participants: tuple[str, ...]


def probe(found: Settings, *, within: float = WITHIN) -> Findings:
    """Ask everybody, and say of each whether it answered; of nobody more than once."""
    if not queues_with_consumers([ASK]):
        told = f"no coordinator reads {ASK}: nothing can be asked"
        yield problem("probe", told, "start 'colm coordinator'")
        return
    clients, servers = yield from _there(found)
    engine = connect(found.database_url, pool_size=2, application_name="colm doctor")
    try:
        asked = [_ask(named, options, within) for named, options in plan(clients, servers)]
        ended = time.monotonic() + within + TAKEN_WITHIN
        for one in asked:
            yield from _follow(engine, topology_of(found), one, ended)
    finally:
        engine.dispose()


def _there(found: Settings) -> Generator[Finding, None, tuple[list[str], list[str]]]:
    """Yields a finding for each participant that is not asked; returns the names of the others."""
    site = topology_of(found)
    wanted = {name: site.of_client(name)[:2] for name in found.clients}
    wanted |= {name: site.of_server(name)[:1] for name in found.servers}
    read = queues_with_consumers(queue.name for queues in wanted.values() for queue in queues)
    there = []
    for name, queues in wanted.items():
        role = "client" if name in found.clients else "server"
        table = (found.clients if role == "client" else found.servers)[name]
        unread = [queue.name for queue in queues if queue.name not in read]
        if unread:
            told = f"not asked: nobody reads {', '.join(unread)}"
            yield problem(f"probe of {name}", told, f"start 'colm {role} {name}'")
        elif table.engine.kind == "sandbox":
            yield ok(f"probe of {name}", "not asked: it runs code and answers no question")
        else:
            there.append(name)
    return [n for n in there if n in found.clients], [n for n in there if n in found.servers]


def plan(
    clients: Sequence[str], servers: Sequence[str]
) -> list[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """What to ask of whom, so that each is asked: the participants and the options of each ask."""
    asks: list[tuple[tuple[str, ...], Mapping[str, Any]]] = []
    together = bool(clients and servers)
    if together:
        # Whatever the site's defaults are: all of them draft, and one draft is enough to go on.
        how = {"rounds": 1, "select": len(clients), "quorum": 1, "refine": True, "synthesis": True}
        options = {"strategy": "colm", "clients": list(clients), "server": servers[0], **how}
        asks.append(((*clients, servers[0]), options))
    for name in () if together else clients:
        asks.append(((name,), {"strategy": "single", "clients": [name], "participant": name}))
    for name in servers[together:]:
        asks.append(((name,), {"strategy": "single", "server": name, "participant": name}))
    return asks


def _ask(participants: tuple[str, ...], options: Mapping[str, Any], within: float) -> Asked:
    query_id = f"{PROBE}{uuid.uuid4()}"
    bounds = {"max_new_tokens": TOKENS, "deadline": within}
    ask.apply_async((QUESTION,), {**options, **bounds}, task_id=query_id)
    return Asked(query_id=query_id, participants=participants)


def _follow(engine: Engine, site: Topology, asked: Asked, until: float) -> Findings:
    sent = time.monotonic()
    while True:
        standing = answers.answer_of(engine, asked.query_id)
        now = time.monotonic()
        if standing.status == "unknown" and now - sent > TAKEN_WITHIN:
            (queue,) = queue_stats([ASK])
            told = f"no coordinator has recorded {asked.query_id} within {TAKEN_WITHIN:.0f} s: "
            told += f"{queue.messages} messages wait in {ASK}"
            do = "look at its log; see that it has this database"
            yield problem("probe", told, do)
            return
        if standing.status in ("answered", "failed", "refused") or now > until:
            break
        time.sleep(LOOK_EVERY)
    yield from told_of(
        standing, history.query_history(engine, asked.query_id), asked, _lies_in(site)
    )


def told_of(
    standing: answers.AnswerState,
    life: history.History | None,
    asked: Asked,
    lies_in: Callable[[Step], str | None],
) -> Findings:
    """What the record of a probe says of the whole, and of each participant.

    `lies_in` names the queue in which a step still lies, if it does.
    """
    if standing.status == "answered" and standing.ended_at and standing.asked_at:
        took = (standing.ended_at - standing.asked_at).total_seconds()
        yield ok("probe", f"{asked.query_id} was answered in {took:.1f} s")
    else:
        told = standing.reason or "it has not come to its end"
        do = f"colm show {asked.query_id} tells the whole of it"
        yield problem("probe", f"{asked.query_id}: {standing.status}: {told}", do)
    entries = [entry.what for entry in life.entries] if life else []
    steps = [what for what in entries if isinstance(what, Step)]
    outcomes = {
        what.step_id: what.outcome
        for what in entries
        if isinstance(what, history.StepOutcome) and what.outcome.status != "late"
    }
    sent = {dispatch.step_id for dispatch in life.dispatches} if life else set()
    for name in asked.participants:
        mine = [step for step in steps if step.participant == name]
        yield _of_participant(name, mine, outcomes, sent, lies_in)


def _of_participant(
    name: str,
    steps: Sequence[Step],
    outcomes: Mapping[str, Outcome],
    sent: set[str],
    lies_in: Callable[[Step], str | None],
) -> Finding:
    about = f"probe of {name}"
    if not steps:
        return warning(about, "was not asked: the question did not come so far", "see the others")
    took = []
    for step in steps:
        outcome = outcomes.get(step.step_id)
        if outcome is not None and outcome.completion is not None:
            took.append(f"{step.act} in {outcome.completion.total_s:.1f} s")
            continue
        if outcome is not None and outcome.status == "failed":
            return problem(about, f"{step.act}: {outcome.reason}", "look at its log")
        if step.step_id not in sent:
            told = f"{step.act}: its step has not been sent"
            return problem(about, told, "look at the coordinator's log")
        if queue := lies_in(step):
            told = f"{step.act}: its step lies in {queue} and was not taken"
            return problem(about, told, f"see whether '{name}' runs, and what it is busy with")
        told = f"{step.act}: it took its step, and nothing came from it in time"
        return problem(about, told, "look at its log; colm doctor --models loads its model")
    return ok(about, ", ".join(took))


def _lies_in(site: Topology) -> Callable[[Step], str | None]:
    def lies_in(step: Step) -> str | None:
        (queue,) = queue_stats([site.for_step(step).name])
        return queue.name if queue.messages else None

    return lies_in
