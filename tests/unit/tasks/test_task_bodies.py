"""The bodies of the tasks, called as a worker calls them: with what came in a message."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Task
from celery.exceptions import Ignore, Reject

from colm.models.client_reliability import SITE_FAILURES
from colm.models.errors import TransientError
from colm.models.messages import Attempt, Query, Submission
from colm.tasks import ask, dependencies, submissions
from colm.tasks.celery_app import app
from colm.tasks.rejection import record_refusal
from colm.tasks.submissions import submit
from colm.workers.result_backend import RecordBackend
from tests.unit.conftest import SetEnvironment
from tests.unit.coordination_site import ID, Site
from tests.unit.examples import QUESTION, a_step, failed, key_of, submitted

ASKED = SimpleNamespace(task="colm.ask")


@pytest.fixture(autouse=True)
def nothing_installed(environment: SetEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    environment(COLM_BROKER="amqp://host/colm", COLM_DATABASE="sqlite:///unused.db")
    monkeypatch.setattr(dependencies, "_runtime", dependencies._Runtime())


@pytest.fixture
def site() -> Site:
    site = Site()
    dependencies.install_coordinator(site.coordinator, site.record)
    return site


@contextmanager
def message(
    task: Task[..., Any], *, id: str = ID, key: str = "", redelivered: bool = False
) -> Iterator[Task[..., Any]]:
    """`task` as it is while it runs a message that came under routing key `key`."""
    task.push_request(id=id, delivery_info={"routing_key": key, "redelivered": redelivered})
    try:
        yield task
    finally:
        task.pop_request()


def deliver(submission: Submission | object, key: str = "draft.ada", **more: Any) -> Any:
    plain = submission.model_dump(mode="json") if isinstance(submission, Submission) else submission
    with message(submit, id="some-task", key=key) as task:
        return task.run(submission=plain, **more)


def test_an_ask_opens_its_query_and_leaves_the_result_to_the_record(site: Site) -> None:
    with message(ask) as task, pytest.raises(Ignore):
        task.run(QUESTION, strategy="single", options={"participant": "bo"})
    assert site.who() == ["draft bo"]


def test_an_ask_may_name_its_question(site: Site) -> None:
    with message(ask) as task, pytest.raises(Ignore):
        task.run(question=QUESTION)
    assert site.who() == ["draft ada", "draft bo"]


@pytest.mark.parametrize(
    ("args", "options"),
    [((), {}), ((QUESTION, 5), {}), ((QUESTION,), {"question": "Another?"}), (([],), {"x": 1})],
)
def test_an_ask_that_our_own_caller_would_not_send_is_refused_on_the_record(
    site: Site, args: tuple[Any, ...], options: dict[str, Any]
) -> None:
    with message(ask) as task, pytest.raises(Ignore):
        task.run(*args, **options)
    assert site.record.refused[ID].reason.startswith("invalid request")
    assert site.sent == []


def test_an_ask_that_the_record_cannot_hold_ends_with_a_reason_that_it_can(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin(query: Query) -> Any:
        raise ValueError(f"cannot hold {query.question}")

    refuse = site.record.refuse

    def refuse_ascii(query_id: str, question: str, strategy: str, reason: str, now: Any) -> None:
        (question + reason).encode("ascii")
        refuse(query_id, question, strategy, reason, now)

    monkeypatch.setattr(site.record, "begin", begin)
    monkeypatch.setattr(site.record, "refuse", refuse_ascii)
    with message(ask) as task, pytest.raises(Reject, match="cannot hold"):
        task.run("Köln?")
    assert "the coordinator failed: " in site.record.refused[ID].reason
    assert "K\\xf6ln" in site.record.refused[ID].reason


def test_an_ask_whose_end_cannot_be_recorded_ends_no_loop(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise TransientError("away")

    monkeypatch.setattr(site.record, "refuse", away)
    record_refusal(ID, "revoked")
    RecordBackend(app=app)._store_result(ID, ValueError("x"), "FAILURE", request=ASKED)
    assert site.record.refused == {}


def test_what_celery_says_of_an_ask_that_never_began_ends_it(site: Site) -> None:
    RecordBackend(app=app)._store_result(ID, "terminated", "REVOKED", request=ASKED)
    assert site.record.refused[ID].reason == "revoked: terminated"


def test_a_submission_moves_its_query_on(site: Site) -> None:
    site.ask(strategy="single")
    receipt = deliver(submitted(site.sent[0]))
    assert receipt == {"step": "query-0001.1.draft.ada.0", "receipt": "recorded"}
    assert site.answers[0].answer == "Because."
    assert deliver(submitted(site.sent[0]))["receipt"] == "repeated"


def test_a_submission_waits_for_a_database_that_is_away(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.ask(strategy="single")
    opened = site.record.open
    away = [TransientError("away")]

    def open_later(query_id: str) -> Any:
        if away:
            raise away.pop()
        return opened(query_id)

    monkeypatch.setattr(site.record, "open", open_later)
    assert deliver(failed(site.sent[0]))["receipt"] == "recorded"


STEP = a_step("ada")


@pytest.mark.parametrize(
    ("submission", "key", "more", "reason"),
    [
        (submitted(STEP), "draft.bo", {}, "'ada' may not submit under 'draft.bo'"),
        (submitted(STEP), "draft.main", {}, "may not submit"),
        (submitted(STEP), "", {}, "may not submit"),
        (submitted(a_step("ada", "refine")), "draft.ada", {}, "was never sent"),
        (submitted(a_step(query_id="query-0009")), "draft.ada", {}, "query-0009"),
        ({"nonsense": 1}, "draft.ada", {}, "the submission cannot be used: query_id: "),
        ("[[[", "draft.ada", {}, "the submission cannot be used: Invalid JSON"),
        (None, "draft.ada", {}, "the submission cannot be used"),
        (submitted(STEP), "draft.ada", {"surprise": 1}, "one keyword argument"),
        ({**key_of(STEP), "worker": "w"}, "draft.ada", {}, "either a completion or an error"),
    ],
)
def test_a_submission_that_cannot_be_taken_is_kept_and_dead_lettered(
    site: Site, submission: Any, key: str, more: dict[str, Any], reason: str
) -> None:
    site.ask()
    with pytest.raises(Reject) as rejected:
        deliver(submission, key, **more)
    told, requeue = rejected.value.args
    assert reason in told
    assert requeue is False
    (letter,) = site.record.letters.values()
    assert letter.message_id == f"{key}:some-task"  # a stranger's id takes nobody's place
    assert reason in letter.reason
    assert (letter.task, letter.queue) == ("colm.submit", key)
    assert "submission" in json.loads(letter.body)
    assert all(state.open for state in site.record.lives[ID].steps.values())


def broken(record: Any, name: str, *errors: Exception) -> Any:
    """The record's method of this name raises these first."""
    kept, left = getattr(record, name), list(errors)

    def method(*args: Any) -> Any:
        if left:
            raise left.pop(0)
        return kept(*args)

    return method


UNRECORDABLE = UnicodeEncodeError("ascii", "über SECRET", 0, 1, "ordinal not in range")


@pytest.mark.parametrize("times", [1, 2])
def test_whatever_keeps_an_ask_from_being_accepted_it_ends_with_the_reason(
    site: Site, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    monkeypatch.setattr(site.record, "begin", broken(site.record, "begin", *[UNRECORDABLE] * 9))
    refuse = broken(site.record, "refuse", *[UNRECORDABLE] * (times - 1))
    monkeypatch.setattr(site.record, "refuse", refuse)
    with message(ask) as task, pytest.raises(Reject):
        task.run("über")
    refusal = site.record.refused[ID]
    assert "the coordinator failed: UnicodeEncodeError" in refusal.reason
    assert refusal.reason.isascii()
    assert "SECRET" not in refusal.reason  # an encoding error's arguments are the whole text
    assert refusal.question == ("über" if times == 1 else "\\xfcber")
    assert "the coordinator failed" in site.record.letters[ID].reason


def test_an_ask_of_which_nothing_can_be_recorded_gives_its_place_back(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("begin", "refuse", "add_dead_letter"):
        monkeypatch.setattr(site.record, name, broken(site.record, name, *[UNRECORDABLE] * 9))
    with message(ask) as task, pytest.raises(Reject):
        task.run("über")


@pytest.mark.parametrize("kind", ["submit", "attempt"])
def test_a_step_of_which_something_came_that_cannot_be_recorded_fails_with_that_reason(
    site: Site, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    site.ask(strategy="single")
    monkeypatch.setattr(site.record, "open", broken(site.record, "open", UNRECORDABLE))
    told: Submission | Attempt = submitted(STEP, "über")
    if kind == "attempt":
        told = Attempt(**key_of(STEP), attempt_id="attempt-1", kind="returned", worker="w")
    fields = {"attempt" if kind == "attempt" else "submission": told.model_dump(mode="json")}
    body = submissions.attempt if kind == "attempt" else submit
    with (
        message(body, id="some-task", key="draft.ada") as task,
        pytest.raises(Reject, match="could not be recorded"),
    ):
        task.run(**fields)
    (answer,) = site.answers
    assert "ada: Unrecorded: the submission of ada could not be recorded" in str(answer.reason)
    assert "UnicodeEncodeError" in site.record.letters["draft.ada:some-task"].reason


def test_a_submission_that_was_recorded_is_no_dead_letter_whatever_fails_after_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.ask(strategy="single")

    def fails(_answer: Any) -> None:
        raise RuntimeError("Flower is broken")

    monkeypatch.setattr(site, "ended", fails)
    assert deliver(submitted(STEP))["receipt"] == "recorded"
    assert site.record.letters == {}


def test_no_participant_may_say_that_a_failure_is_the_sites_own(site: Site) -> None:
    site.ask(strategy="single")
    told = failed(STEP)
    assert told.error is not None
    for kind in SITE_FAILURES:
        error = told.error.model_copy(update={"kind": kind})
        deliver(told.model_copy(update={"error": error}))
    outcome = site.record.lives[ID].steps[STEP.step_id].outcome
    assert outcome is not None
    assert outcome.reason == "Failed: no memory"


def test_an_attempt_is_taken_from_its_own_participant_only(site: Site) -> None:
    site.ask(strategy="single")
    attempt = Attempt(**key_of(STEP), attempt_id="attempt-1", kind="returned", worker="w")
    fields = attempt.model_dump(mode="json")
    with message(submissions.attempt, id="some-task", key="draft.ada") as task:
        assert task.run(attempt=fields) == {"step": STEP.step_id, "receipt": "recorded"}
    assert site.who() == ["draft ada", "draft ada"]
    with (
        message(submissions.attempt, id="a-forgery", key="draft.bo") as task,
        pytest.raises(Reject),
    ):
        task.run(attempt=fields)
    assert "may not submit" in site.record.letters["draft.bo:a-forgery"].reason


def test_a_server_submits_under_its_own_key_too(site: Site) -> None:
    site.ask(strategy="single", participant="main")
    assert deliver(submitted(site.sent[0]), "guidance.main")["receipt"] == "recorded"
