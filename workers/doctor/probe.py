"""`colm doctor --deep`: a short question through every running participant.

The strategy `colm` asks the clients and the first server; `single` asks each further server. The
queries stay in the record under ids that begin with `probe-`, and count for no reliability score.
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
#: Time limits of the probe, and of a coordinator to record the query (seconds).
WITHIN = 120.0
RECORDED_WITHIN = 15.0
POLL_EVERY = 0.2


@dataclass(frozen=True, kw_only=True)
class ProbeQuery:
    """A published query, and the participants of its steps."""

    query_id: str
    participants: tuple[str, ...]


def probe(config: Settings, *, within: float = WITHIN) -> Findings:
    """Ask each running participant once, and report its answer."""
    if not queues_with_consumers([ASK]):
        detail = f"no coordinator consumes {ASK}"
        yield problem("probe", detail, "start 'colm coordinator'")
        return
    clients, servers = yield from _with_workers(config)
    engine = connect(config.database_url, pool_size=2, application_name="colm doctor")
    try:
        queries = [_ask(named, options, within) for named, options in plan(clients, servers)]
        ended = time.monotonic() + within + RECORDED_WITHIN
        for query in queries:
            yield from _follow(engine, topology_of(config), query, ended)
    finally:
        engine.dispose()


def _with_workers(config: Settings) -> Generator[Finding, None, tuple[list[str], list[str]]]:
    """Yields a finding for each participant without a worker; returns the names of the others."""
    site = topology_of(config)
    queues_of = {name: site.of_client(name)[:2] for name in config.clients}
    queues_of |= {name: site.of_server(name)[:1] for name in config.servers}
    read = queues_with_consumers(queue.name for queues in queues_of.values() for queue in queues)
    there = []
    for name, queues in queues_of.items():
        role = "client" if name in config.clients else "server"
        table = (config.clients if role == "client" else config.servers)[name]
        unread = [queue.name for queue in queues if queue.name not in read]
        if unread:
            detail = f"not asked: no consumer on {', '.join(unread)}"
            yield problem(f"probe of {name}", detail, f"start 'colm {role} {name}'")
        elif table.engine.kind == "sandbox":
            yield ok(f"probe of {name}", "not asked: it only runs code")
        else:
            there.append(name)
    return [n for n in there if n in config.clients], [n for n in there if n in config.servers]


def plan(
    clients: Sequence[str], servers: Sequence[str]
) -> list[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """The participants and options of each query; every participant is in one of them."""
    asks: list[tuple[tuple[str, ...], Mapping[str, Any]]] = []
    together = bool(clients and servers)
    if together:
        # Independent of the site's defaults: all clients draft, and one draft is a quorum.
        how = {"rounds": 1, "select": len(clients), "quorum": 1, "refine": True, "synthesis": True}
        options = {"strategy": "colm", "clients": list(clients), "server": servers[0], **how}
        asks.append(((*clients, servers[0]), options))
    for name in () if together else clients:
        asks.append(((name,), {"strategy": "single", "clients": [name], "participant": name}))
    for name in servers[together:]:
        asks.append(((name,), {"strategy": "single", "server": name, "participant": name}))
    return asks


def _ask(participants: tuple[str, ...], options: Mapping[str, Any], within: float) -> ProbeQuery:
    query_id = f"{PROBE}{uuid.uuid4()}"
    bounds = {"max_new_tokens": TOKENS, "deadline": within}
    ask.apply_async((QUESTION,), {**options, **bounds}, task_id=query_id)
    return ProbeQuery(query_id=query_id, participants=participants)


def _follow(engine: Engine, site: Topology, query: ProbeQuery, until: float) -> Findings:
    sent = time.monotonic()
    while True:
        state = answers.answer_of(engine, query.query_id)
        now = time.monotonic()
        if state.status == "unknown" and now - sent > RECORDED_WITHIN:
            (queue,) = queue_stats([ASK])
            detail = (
                f"no coordinator has recorded {query.query_id} within {RECORDED_WITHIN:.0f} s: "
            )
            detail += f"{queue.messages} messages wait in {ASK}"
            do = "check its log, and that it uses this database"
            yield problem("probe", detail, do)
            return
        if state.status in ("answered", "failed", "refused") or now > until:
            break
        time.sleep(POLL_EVERY)
    yield from probe_findings(
        state, history.query_history(engine, query.query_id), query, _queue_holding(site)
    )


def probe_findings(
    state: answers.AnswerState,
    life: history.History | None,
    query: ProbeQuery,
    queue_holding: Callable[[Step], str | None],
) -> Findings:
    """Findings on the whole query and on each participant.

    `queue_holding` names the queue that still holds a step, if any.
    """
    if state.status == "answered" and state.ended_at and state.asked_at:
        took = (state.ended_at - state.asked_at).total_seconds()
        yield ok("probe", f"{query.query_id} was answered in {took:.1f} s")
    else:
        detail = state.reason or "it has not ended"
        do = f"see colm show {query.query_id}"
        yield problem("probe", f"{query.query_id}: {state.status}: {detail}", do)
    entries = [entry.what for entry in life.entries] if life else []
    steps = [what for what in entries if isinstance(what, Step)]
    outcomes = {
        what.step_id: what.outcome
        for what in entries
        if isinstance(what, history.StepOutcome) and what.outcome.status != "late"
    }
    sent = {dispatch.step_id for dispatch in life.dispatches} if life else set()
    for name in query.participants:
        mine = [step for step in steps if step.participant == name]
        yield _of_participant(name, mine, outcomes, sent, queue_holding)


def _of_participant(
    name: str,
    steps: Sequence[Step],
    outcomes: Mapping[str, Outcome],
    sent: set[str],
    queue_holding: Callable[[Step], str | None],
) -> Finding:
    about = f"probe of {name}"
    if not steps:
        return warning(
            about, "was not asked: an earlier step did not end", "see the other findings"
        )
    took = []
    for step in steps:
        outcome = outcomes.get(step.step_id)
        if outcome is not None and outcome.completion is not None:
            took.append(f"{step.act} in {outcome.completion.total_s:.1f} s")
            continue
        if outcome is not None and outcome.status == "failed":
            return problem(about, f"{step.act}: {outcome.reason}", "check its log")
        if step.step_id not in sent:
            detail = f"{step.act}: its step has not been sent"
            return problem(about, detail, "check the coordinator's log")
        if queue := queue_holding(step):
            detail = f"{step.act}: its step waits in {queue}"
            return problem(about, detail, f"check whether '{name}' runs and is busy")
        detail = f"{step.act}: it received its step and did not submit in time"
        return problem(about, detail, "check its log; colm doctor --models loads its model")
    return ok(about, ", ".join(took))


def _queue_holding(site: Topology) -> Callable[[Step], str | None]:
    def queue_holding(step: Step) -> str | None:
        (queue,) = queue_stats([site.for_step(step).name])
        return queue.name if queue.messages else None

    return queue_holding
