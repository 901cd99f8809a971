"""What is handed to Celery with each message, and what a caller hears when it cannot be sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from amqp.exceptions import (
    AccessRefused,
    ChannelError,
    ConnectionForced,
    InternalError,
    MessageNacked,
    NotAllowed,
    NotFound,
    PreconditionFailed,
)
from celery.result import AsyncResult
from kombu.exceptions import OperationalError

from colm.models.errors import (
    InvalidAsk,
    NoConsumer,
    Overloaded,
    SettingsError,
    TooLarge,
    TransientError,
)
from colm.models.messages import Step, Submission, decode
from colm.tasks import ask
from colm.tasks.broker.publish import send_step, send_submission
from colm.tasks.celery_app import app
from tests.unit.conftest import SetEnvironment
from tests.unit.examples import QUESTION, a_step, failed, submitted


class Broker:
    """Stands in for the app's `send_task`: keeps what it is given, or raises `errors` in turn."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.sent: list[dict[str, Any]] = []

    def send_task(self, name: str, **options: Any) -> AsyncResult[Any]:
        if self.errors:
            raise self.errors.pop(0)
        self.sent.append({"name": name, **options})
        return AsyncResult(options["task_id"], app=app)

    @property
    def only(self) -> dict[str, Any]:
        (sent,) = self.sent
        return sent


@pytest.fixture
def broker(
    environment: SetEnvironment,
    reachable: None,  # noqa: ARG001 - a fixture
    monkeypatch: pytest.MonkeyPatch,
) -> Broker:
    environment(COLM_BROKER="amqp://host/colm", COLM_DATABASE="sqlite:///unused.db")
    broker = Broker()
    monkeypatch.setattr(app, "send_task", broker.send_task)
    return broker


@pytest.mark.parametrize(
    ("step", "task", "queue", "exchange", "key"),
    [
        (a_step("ada"), "colm.draft", "colm.draft.ada", "colm.steps", "draft.ada"),
        (a_step("ada", "refine"), "colm.refine", "colm.refine.ada", "colm.guidance", "refine.ada"),
        (
            a_step("main", "synthesize", role="server"),
            "colm.synthesize", "colm.synthesize.main", "colm.steps", "synthesize.main",
        ),
        (
            a_step("main", "select", role="server"),
            "colm.select", "colm.synthesize.main", "colm.steps", "synthesize.main",
        ),
    ],
)  # fmt: skip
def test_a_step_goes_to_its_queue_under_its_own_id(
    broker: Broker, step: Step, task: str, queue: str, exchange: str, key: str
) -> None:
    send_step(step)
    sent = broker.only
    assert (sent["name"], sent["queue"].name) == (task, queue)
    assert (sent["exchange"], sent["routing_key"]) == (exchange, key)
    assert sent["task_id"] == step.step_id
    wire = json.loads(json.dumps(sent["kwargs"]["step"]))
    assert decode(Step, wire, what="it") == step


@pytest.mark.parametrize("submission", [submitted(a_step()), failed(a_step())])
def test_a_submission_goes_to_the_coordinators_under_its_senders_name(
    broker: Broker, submission: Submission
) -> None:
    send_submission(submission, routing_key="draft.ada")
    sent = broker.only
    assert (sent["name"], sent["queue"].name) == ("colm.submit", "colm.submissions")
    assert (sent["exchange"], sent["routing_key"]) == ("colm.drafts", "draft.ada")
    assert sent["task_id"] == "query-0001.1.draft.ada.0.submit"
    wire = json.loads(json.dumps(sent["kwargs"]["submission"]))
    assert decode(Submission, wire, what="it") == submission


def test_every_message_is_mandatory_and_only_a_caller_or_an_embedded_broker_declares(
    broker: Broker, environment: SetEnvironment
) -> None:
    send_step(a_step())
    ask.delay(QUESTION)
    environment(COLM_BROKER="redis+socket:///run/x.sock", COLM_DATABASE="sqlite:///unused.db")
    send_step(a_step())
    assert [sent["mandatory"] for sent in broker.sent] == [True, True, True]
    declared = [[queue.name for queue in sent["declare"]] for sent in broker.sent]
    assert declared == [[], ["colm.ask"], ["colm.draft.ada"]]


def test_flower_sees_sizes_and_names_but_no_texts(broker: Broker) -> None:
    send_step(a_step(content="the secret question"))
    send_submission(submitted(a_step(), "the secret answer"), routing_key="draft.ada")
    ask.delay("the secret question", clients=["ada", "bo"])
    for sent in broker.sent:
        assert "secret" not in sent["kwargsrepr"] + sent["argsrepr"]
    step, submission, asked = (sent["kwargsrepr"] for sent in broker.sent)
    assert step.startswith("by='ada', round=1, turns=1, characters=19, ")
    assert "status='completed'" in submission
    assert asked == "strategy='colm', characters=19, clients='ada,bo'"


def test_flower_sees_the_question_where_the_settings_allow_it(
    broker: Broker, environment: SetEnvironment
) -> None:
    environment(COLM_BROKER="amqp://host/colm", COLM_DATABASE="sqlite:///x", COLM_SHOW_TEXTS="1")
    ask.delay("Why?" + "x" * 1000)
    assert f"question={'Why?' + 'x' * 196!r}" in broker.only["kwargsrepr"]


#: As RabbitMQ says them.
SIZE = "PRECONDITION_FAILED - message size 30105 is larger than configured max size 20000"
VHOST_LIMIT = (
    "NOT_ALLOWED - access to vhost 'v' refused for user 'u': connection limit (1) is reached"
)
USER_LIMIT = "NOT_ALLOWED - connection refused for user 'u': user connection limit (1) is reached"
CHANNEL_LIMIT = (
    "NOT_ALLOWED - number of channels opened for user 'u' has reached the maximum allowed user "
    "limit of (1)"
)
QUEUE_LIMIT = "PRECONDITION_FAILED - cannot declare queue 'q' in vhost 'v': queue limit in vhost "
QUEUE_LIMIT += "'v' (5) is reached"


@pytest.mark.parametrize(
    ("error", "expected", "words"),
    [
        (MessageNacked(), Overloaded, r"queue colm.draft.ada is full \(100000 messages\)"),
        (ChannelError("x", (0, 0), reply_code=404), NoConsumer, "colm.draft.ada does not exist"),
        (ChannelError("x", (0, 0), reply_code=312), NoConsumer, "start 'colm coordinator'"),
        (ChannelError("x", (0, 0), reply_code=406), ChannelError, "x"),
        (PreconditionFailed(SIZE), TooLarge, "max_message_size in rabbitmq.conf"),
        (NotAllowed(VHOST_LIMIT), TransientError, r"set_vhost_limits.*connection limit \(1\)"),
        (NotAllowed(USER_LIMIT), TransientError, "limit on connections or channels is reached"),
        (NotAllowed(CHANNEL_LIMIT), TransientError, "limit on connections or channels is reached"),
        (NotFound("queue"), NoConsumer, "start 'colm coordinator'"),
        (InternalError("vhost is down"), TransientError, "cannot be reached: .*is down"),
        (ConnectionForced("shutdown"), TransientError, "cannot be reached"),
        (AccessRefused("not yours", (0, 0)), SettingsError, "refuses this: .* not yours"),
        (NotAllowed("no such vhost"), SettingsError, "correct the URL of the broker"),
        (OperationalError("refused"), TransientError, "broker cannot be reached: refused"),
        (ConnectionResetError("reset"), TransientError, "broker cannot be reached: reset"),
    ],
)
def test_a_publish_that_fails_says_what_to_do(
    broker: Broker, error: Exception, expected: type[Exception], words: str
) -> None:
    broker.errors = [error]
    with pytest.raises(expected, match=words):
        send_step(a_step())


def test_a_caller_who_may_not_declare_sends_all_the_same(broker: Broker) -> None:
    broker.errors = [AccessRefused("not yours", (0, 0))]
    assert ask.delay(QUESTION)
    assert broker.only["declare"] == []
    broker.errors = [AccessRefused("not yours", (0, 0))] * 2
    with pytest.raises(SettingsError):
        ask.delay(QUESTION)


def test_a_caller_hears_that_its_question_is_too_large_for_the_broker(broker: Broker) -> None:
    broker.errors = [PreconditionFailed(SIZE)] * 2
    with pytest.raises(InvalidAsk, match=r"message size 30105 .*Shorten it"):
        ask.delay(QUESTION)


def test_a_virtual_host_that_is_full_of_queues_is_told_and_nothing_is_to_be_deleted(
    broker: Broker,
) -> None:
    broker.errors = [PreconditionFailed(QUEUE_LIMIT)] * 2
    with pytest.raises(SettingsError, match=r"max-queues.*no queue has to be deleted"):
        ask.delay(QUESTION)


def test_an_ask_sends_the_question_what_differs_from_the_defaults_and_nothing_else(
    broker: Broker,
) -> None:
    result = ask.delay(QUESTION, strategy="colm", clients=["ada"], rounds=2, seed=None)
    sent = broker.only
    assert (sent["name"], sent["queue"].name, sent["routing_key"]) == (
        "colm.ask",
        "colm.ask",
        "ask",
    )
    assert sent["args"] == (QUESTION,)
    assert sent["kwargs"] == {"clients": ["ada"], "options": {"rounds": 2}}
    assert result.id == sent["task_id"]


def test_the_question_can_be_named_and_the_query_id_chosen(broker: Broker) -> None:
    ask.apply_async(kwargs={"question": QUESTION}, task_id="my-own-query")
    assert broker.only["args"] == (QUESTION,)
    assert broker.only["task_id"] == "my-own-query"


@pytest.mark.parametrize(
    ("args", "options", "complaint"),
    [
        ((), {}, "question"),
        (("",), {}, "question"),
        (("x" * 32_001,), {}, "question"),
        ((None,), {}, "question"),
        ((QUESTION, "single"), {}, "one argument by position"),
        ((QUESTION,), {"question": "Another?"}, "question is given twice"),
        ((QUESTION,), {"strategy": "clom"}, "did you mean 'colm'"),
        ((QUESTION,), {"rounds": 0}, "rounds"),
        ((QUESTION,), {"client": "ada"}, "did you mean 'clients'"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_sent(
    broker: Broker, args: tuple[Any, ...], options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InvalidAsk, match=complaint):
        ask.delay(*args, **options)
    assert broker.sent == []


def test_an_id_that_names_no_query_is_refused_before_anything_is_sent(broker: Broker) -> None:
    with pytest.raises(InvalidAsk, match="query_id"):
        ask.apply_async((QUESTION,), task_id="no.dots")
    assert broker.sent == []
