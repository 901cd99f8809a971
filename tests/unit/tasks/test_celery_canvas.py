"""Celery's own ways of calling a task: each works, or is refused before anything is sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import celery
import pytest
from amqp.exceptions import AccessRefused
from celery import Celery, _state
from celery.result import AsyncResult, GroupResult, result_from_tuple
from kombu import Connection, Producer

from colm.models.errors import InvalidAsk, SettingsError
from colm.models.messages import AskRequest
from colm.models.strategies import STRATEGIES
from colm.tasks import app, cancel, evaluate
from colm.tasks import ask as the_task
from colm.tasks.celery_canvas import CELERY_OPTIONS
from tests.unit.conftest import SetEnvironment
from tests.unit.examples import QUESTION

#: As callers see them, whatever the stubs make of that.
ask: Any = the_task
chain: Any = celery.chain
chord: Any = celery.chord
group: Any = celery.group
signature: Any = celery.signature

#: What Celery's workers note of the task that they run.
STACK: Any = _state._task_stack  # type: ignore[attr-defined]  # the stubs leave it out

RUN = {"data": {"source": "questions.jsonl"}, "entries": [{"name": "alone"}]}


@pytest.fixture
def sent(
    environment: SetEnvironment,
    reachable: None,  # noqa: ARG001 - a fixture
    monkeypatch: pytest.MonkeyPatch,
) -> list[dict[str, Any]]:
    """What CoLM's app, and any other, hands to Celery to be published."""
    environment(COLM_BROKER="amqp://host/colm", COLM_DATABASE="sqlite:///unused.db")
    sent: list[dict[str, Any]] = []

    def send_task(self: Celery, name: str, args: Any = None, kwargs: Any = None, **o: Any) -> Any:
        sent.append({"name": name, "args": args, "kwargs": kwargs, **o})
        return AsyncResult(o.get("task_id") or "a-result", app=self)

    monkeypatch.setattr(Celery, "send_task", send_task)
    monkeypatch.setitem(app.conf, "broker_url", "amqp://host/colm")
    return sent


@pytest.fixture
def other() -> Celery:
    """A caller's own app, with a task."""
    found = Celery("other", broker="memory://", backend="cache+memory://", set_as_current=False)

    def same(text: str) -> str:
        return text

    task: Any = found.task
    task(same, name="other.task", shared=False)
    return found


@contextmanager
def in_a_worker(task: Any) -> Iterator[None]:
    """Called by a worker that runs `task`."""
    task.push_request(called_directly=False)
    STACK.push(task)
    try:
        yield
    finally:
        STACK.pop()
        task.pop_request()


def questions(sent: list[dict[str, Any]]) -> list[str]:
    assert {message["name"] for message in sent} == {"colm.ask"}
    return [message["args"][0] for message in sent]


@pytest.mark.parametrize(
    "made",
    [
        lambda: group(ask.s(text, rounds=1) for text in ("one", "two")),
        lambda: group([ask.s("one", rounds=1), ask.si("two", rounds=1)]),
        lambda: ask.map(["one", "two"]),
        lambda: ask.starmap([("one",), ("two",)]),
        lambda: group(group(ask.s("one")), group(ask.s("two"))),
        lambda: group(signature("colm.ask", args=(text,), app=app) for text in ("one", "two")),
    ],
)
def test_a_group_asks_each_question_and_its_name_leaves_the_process_with_none(
    sent: list[dict[str, Any]], made: Callable[[], Any]
) -> None:
    result = made().apply_async()
    assert questions(sent) == ["one", "two"]
    assert [one.id for one in result.results] == [message["task_id"] for message in sent]
    for message in sent:
        assert not {"group_id", "group_index", "chord", "reply_to"} & set(message)
        assert message["producer"].connection._pool is app.pool


@pytest.mark.parametrize(
    "way",
    [
        lambda: ask.s(QUESTION).delay(),
        lambda: ask.s().delay(QUESTION),
        lambda: ask.s(rounds=2).apply_async((QUESTION,)),
        lambda: ask.si(QUESTION).delay("not this"),
        lambda: ask.s(QUESTION).clone().delay(),
        lambda: ask.s(QUESTION).set(task_id="my-own-id").apply_async(task_id="another-id"),
        lambda: chain(ask.s(QUESTION)).apply_async(),
        lambda: chain([ask.s(QUESTION)])(),
        lambda: app.send_task("colm.ask", args=[QUESTION]),
        lambda: app.send_task("colm.ask", (QUESTION,), {}, countdown=None, queue=None),
        lambda: signature("colm.ask", args=(QUESTION,), app=app).delay(),
        lambda: signature("colm.ask", args=(QUESTION,), app=Celery("any")).delay(),
        lambda: ask.apply_async(
            [QUESTION],
            retry=False,
            serializer="json",
            headers={"celery_beat_task": True},
            priority=0,
            expires=None,
        ),
        lambda: ask.apply_async(one for one in [QUESTION]),
    ],
)
def test_a_question_can_be_sent_in_each_of_these_ways(
    sent: list[dict[str, Any]], way: Callable[[], Any]
) -> None:
    way()
    assert questions(sent) == [QUESTION]


@pytest.mark.parametrize(
    ("option", "value", "why"),
    [
        ("link", [1], "get\\(\\) it, then send the next task"),
        ("link_error", [1], "send the next task"),
        ("chain", [1], "send the next task"),
        ("chord", {"task": "x"}, "send the next task"),
        ("countdown", 3, "starts at once and ends by its deadline"),
        ("eta", "2030-01-01", "starts at once"),
        ("expires", 5, "deadline"),
        ("time_limit", 5, "deadline"),
        ("queue", "celery", "its queue is fixed by the site"),
        ("routing_key", "x", "its queue is fixed by the site"),
        ("exchange", "x", "its queue is fixed by the site"),
        ("connection", object(), "its queue is fixed by the site"),
        ("serializer", "pickle", "the form of its message is fixed"),
        ("compression", "zlib", "the form of its message is fixed"),
        ("headers", {"a": 1}, "the form of its message is fixed"),
        ("shadow", "x", "the form of its message is fixed"),
        ("argsrepr", "x", "the form of its message is fixed"),
        ("stamped_headers", ["x"], "the form of its message is fixed"),
        ("priority", 9, "lane='overnight'"),
        ("ignore_result", True, "its result is recorded in any case"),
        ("retry_policy", {"max_retries": 1}, "retries of its publish are fixed"),
        ("replaced_task_nesting", 1, "cannot replace a task"),
        ("surprise", 1, "Celery has no such option"),
    ],
)
@pytest.mark.parametrize(("task", "args"), [(ask, (QUESTION,)), (evaluate, (RUN,))])
def test_an_option_that_cannot_be_kept_is_refused_by_name_and_with_the_reason(
    sent: list[dict[str, Any]], task: Any, args: Any, option: str, value: Any, why: str
) -> None:
    with pytest.raises(InvalidAsk, match=f"takes no {option}: .*{why}"):
        task.apply_async(args, **{option: value})
    with pytest.raises(InvalidAsk, match=option):
        app.send_task(task.name, args, **{option: value})
    assert sent == []


@pytest.mark.parametrize(
    ("way", "complaint"),
    [
        (lambda: ask(QUESTION), r"ask.delay\(...\) sends it"),
        (lambda: ask.s(QUESTION)(), r"ask.delay\(...\) sends it"),
        (lambda: ask.apply((QUESTION,)), r"ask.delay\(...\) sends it"),
        (lambda: ask.signature((QUESTION,)).apply(), r"ask.delay\(...\) sends it"),
        (lambda: cancel.apply_async(("query-0001",), countdown=5), "cancel takes no countdown"),
        (lambda: cancel("query-0001"), r"cancel.delay\(...\) sends it"),
        (lambda: evaluate(RUN), r"evaluate.delay\(...\) sends it"),
        (lambda: ask.retry(), "send it again"),
        (lambda: ask.chunks([(QUESTION,)], 2), r"ask.map\(\[...\]\)"),
        (lambda: ask.apply_async(QUESTION), "takes a list of arguments"),
        (lambda: ask.apply_async(5), "takes a list of arguments"),
        (lambda: ask.apply_async((QUESTION,), "x"), "takes a dict of keyword arguments"),
        (lambda: ask.delay(QUESTION, task_id="my-own-id"), "an option of Celery's.*task_id=..."),
        (lambda: ask.delay(QUESTION, countdown=5), "countdown: an option of Celery's"),
        (lambda: ask.s(""), "question"),
        (lambda: ask.s(QUESTION, rouns=1), "did you mean 'rounds'"),
        (lambda: ask.s(QUESTION, countdown=1), "countdown"),
        (lambda: ask.signature((QUESTION,), countdown=1), "takes no countdown"),
        (lambda: ask.map([QUESTION, ""]).delay(), "question"),
        (lambda: group([ask.s(QUESTION), ask.s("")])(), "question"),
        (lambda: ask.s(QUESTION).on_error(ask.s()).delay(), "takes no link_error"),
        (lambda: app.send_task("celery.map", kwargs={}), "run no 'celery.map'"),
        (lambda: app.send_task("mine.task"), "a Celery app of your own"),
        (lambda: app.control.revoke_by_stamped_headers({"a": "b"}), "no stamps"),
    ],
)
def test_what_would_end_nowhere_is_refused_with_what_to_do(
    sent: list[dict[str, Any]], way: Callable[[], Any], complaint: str
) -> None:
    with pytest.raises(InvalidAsk, match=complaint):
        way()
    assert sent == []


@pytest.mark.parametrize(
    ("made", "complaint"),
    [
        (lambda t: chain(ask.s("1"), t), "nothing can follow ask"),
        (lambda t: ask.s("1") | t, "nothing can follow ask"),
        (lambda t: chain(t, ask.s(), t), "nothing can follow ask"),
        (lambda _: chain(ask.s("1"), ask.si("2")), "nothing can follow ask"),
        (lambda t: chain(t, chain(ask.s(), t)), "nothing can follow ask"),
        (lambda t: group([chain(ask.s("1"), t), ask.s("2")]), "nothing can follow ask"),
        (lambda t: chord([ask.s("1"), ask.s("2")], t), "nothing can follow ask"),
        (lambda t: chord([signature("colm.ask", ("1",), app=app)], t), "CoLM runs no chord"),
        (lambda t: chord([t, ask.s("2")], t), "nothing can follow ask"),
        (lambda t: group(ask.s("1"), ask.s("2")) | t, "nothing can follow ask"),
        (lambda t: chord([t, t], ask.s()), "takes no list of results"),
        (lambda t: group(t, t) | ask.s(), "takes no list of results"),
        (lambda t: group(t, ask.s("1")), "in a group with tasks of another app"),
    ],
)
def test_what_should_follow_an_ask_is_refused_before_anything_is_sent(
    sent: list[dict[str, Any]], other: Celery, made: Callable[[Any], Any], complaint: str
) -> None:
    with pytest.raises(InvalidAsk, match=complaint):
        made(other.tasks["other.task"].si("x")).apply_async()
    assert not [message for message in sent if message["name"].startswith("co")]
    assert not [message for message in sent if message.get("chain") or message.get("chord")]


def test_an_ask_that_follows_another_task_is_sent_by_that_tasks_worker(
    sent: list[dict[str, Any]], other: Celery
) -> None:
    result = chain(other.tasks["other.task"].s("x"), ask.s(rounds=2)).apply_async()
    (first,) = sent
    (step,) = json.loads(json.dumps(first["chain"]))
    with in_a_worker(other.tasks["other.task"]):
        signature(step, app=other).apply_async(
            ("what x gave",), chain=[], parent_id="a-parent", root_id="a-parent", priority=None
        )
    asked = sent[-1]
    assert (asked["name"], asked["args"]) == ("colm.ask", ("what x gave",))
    assert (asked["task_id"], asked["parent_id"]) == (result.id, "a-parent")
    assert result.backend is not result.parent.backend


def test_what_a_task_gave_and_cannot_be_asked_is_refused_by_the_coordinator(
    sent: list[dict[str, Any]], other: Celery
) -> None:
    with in_a_worker(other.tasks["other.task"]):
        ask.apply_async((["no", "text"],), task_id="in-a-chain", chain=[])
    assert sent[0]["args"] == (["no", "text"],)
    with in_a_worker(other.tasks["other.task"]), pytest.raises(InvalidAsk):
        ask.delay("")  # a task's own call hears of it at once


def test_an_ask_in_place_of_a_task_is_refused_in_that_task(
    sent: list[dict[str, Any]], other: Celery
) -> None:
    task = other.tasks["other.task"]
    with in_a_worker(task), pytest.raises(InvalidAsk, match="cannot replace a task"):
        task.replace(ask.s(QUESTION))
    assert sent == []


def test_nothing_is_eager(sent: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(app.conf, "task_always_eager", True)
    for way in (ask.s(QUESTION).delay, group(ask.s(QUESTION)).apply_async):
        with pytest.raises(InvalidAsk, match=r"ask cannot be (eager|applied)"):
            way()
    assert sent == []


def test_an_id_names_one_question(sent: list[dict[str, Any]]) -> None:
    for _ in range(2):
        ask.apply_async((QUESTION,), {"rounds": 2}, task_id="one-question")
    with pytest.raises(InvalidAsk, match="sent another question as 'one-question'"):
        ask.apply_async((QUESTION,), {"rounds": 3}, task_id="one-question")
    assert len(sent) == 2


def test_a_producer_for_another_broker_is_not_used(sent: list[dict[str, Any]]) -> None:
    elsewhere = Producer(Connection("amqp://elsewhere/colm"))
    ask.apply_async((QUESTION,), producer=elsewhere)
    assert sent[0]["producer"] is None


def test_no_option_of_a_strategy_is_taken_for_one_of_celerys() -> None:
    asked = set(AskRequest.model_fields)
    for strategy in STRATEGIES.values():
        asked |= set(strategy.options.model_fields)
    assert not CELERY_OPTIONS & asked


def test_revoking_cancels_every_query(sent: list[dict[str, Any]]) -> None:
    ask.AsyncResult("query-0001").revoke(terminate=True, signal="KILL", wait=True)
    GroupResult("a-group", [ask.AsyncResult("query-0002"), ask.AsyncResult("query-0003")]).revoke()
    app.control.terminate("query-0004")
    assert {message["name"] for message in sent} == {"colm.cancel"}
    assert [m["kwargs"]["query_id"] for m in sent] == [f"query-000{n}" for n in (1, 2, 3, 4)]
    assert {message["kwargs"]["reason"] for message in sent} == {"revoked"}


def test_who_may_not_cancel_is_told_who_can(
    sent: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise AccessRefused("no right to write to exchange colm.ask with topic control")

    monkeypatch.setattr(Celery, "send_task", refused)
    with pytest.raises(SettingsError, match=r"no right .*: colm cancel query-0001"):
        ask.AsyncResult("query-0001").revoke()
    assert sent == []


def test_what_is_no_query_is_not_revoked(sent: list[dict[str, Any]]) -> None:
    with pytest.raises(InvalidAsk, match="query_id"):
        app.control.revoke(["query-0001", "no.query"])
    with pytest.raises(InvalidAsk, match="colm run cancel night"):
        evaluate.AsyncResult("night").revoke()
    assert isinstance(evaluate.apply_async((RUN,)), AsyncResult)
    assert [message["name"] for message in sent] == ["colm.evaluate"]


def test_a_group_is_kept_by_its_ids(sent: list[dict[str, Any]]) -> None:
    result = ask.map(["one", "two"]).apply_async()
    for way in (result.save, result.delete, lambda: app.GroupResult.restore(result.id, app=app)):
        with pytest.raises(InvalidAsk, match="as_tuple"):
            way()
    kept = json.loads(json.dumps(result.as_tuple()))
    restored: Any = result_from_tuple(kept, app=app)
    assert restored == result
    assert [one.id for one in restored.results] == [message["task_id"] for message in sent]
