"""The tasks of participants: what becomes of a step and of its completion."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from amqp.exceptions import PreconditionFailed
from celery import Task
from celery.exceptions import Reject

from colm.models.errors import EngineLost
from colm.models.messages import Act, Attempt, Step, Submission
from colm.tasks import ask, dependencies, steps
from colm.tasks.celery_app import app
from colm.tasks.submissions import submit
from tests.unit.conftest import SetEnvironment
from tests.unit.examples import QUESTION, a_completion, a_step, failed, key_of, submitted
from tests.unit.tasks.test_task_bodies import STEP, deliver, message


@pytest.fixture(autouse=True)
def nothing_installed(environment: SetEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    environment(COLM_BROKER="amqp://host/colm", COLM_DATABASE="sqlite:///unused.db")
    monkeypatch.setattr(dependencies, "_runtime", dependencies._Runtime())


class Generating:
    """A generator that answers every step of ada's."""

    def __init__(self, fails: bool = False, raises: Exception | None = None) -> None:
        self.fails, self.raises = fails, raises

    def serves(self, step: Step) -> bool:
        return step.participant == "ada"

    def generate(self, step: Step, *, redelivered: bool) -> Submission | Attempt:
        if self.raises is not None:
            raise self.raises
        if redelivered:
            return Attempt(**key_of(step), attempt_id="attempt-1", kind="returned", worker="w")
        if self.fails:
            return failed(step)
        completion = a_completion(batch_size=4, total_s=0.12345)
        return Submission(**key_of(step), worker="w", completion=completion)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    def send_task(name: str, **options: Any) -> None:
        sent.append({"name": name, **options})

    monkeypatch.setattr(app, "send_task", send_task)
    return sent


def generate(task: Task[..., Any], step: object, **more: Any) -> Any:
    with message(task, id="some-task"):
        plain = step.model_dump(mode="json") if isinstance(step, Step) else step
        return task.run(step=plain, **more)


def test_a_step_is_generated_submitted_and_summed_up(sent: list[dict[str, Any]]) -> None:
    dependencies.install_generator(Generating())
    done = generate(steps.draft, STEP)
    assert done == {"step": STEP.step_id, "tokens": 3, "seconds": 0.123, "batch": 4}
    assert [message["routing_key"] for message in sent] == ["draft.ada"]
    assert sent[0]["kwargs"]["submission"]["completion"]["text"] == "Because."


def test_a_failure_is_submitted_like_a_completion(sent: list[dict[str, Any]]) -> None:
    dependencies.install_generator(Generating(fails=True))
    done = generate(steps.refine, a_step("ada", "refine"))
    assert done == {"step": "query-0001.1.refine.ada.0", "failed": "EngineError"}
    assert sent[0]["kwargs"]["submission"]["error"]["reason"] == "no memory"


def test_a_fault_of_the_generator_is_submitted_as_the_reason(sent: list[dict[str, Any]]) -> None:
    dependencies.install_generator(Generating(raises=ValueError("a fault of ours")))
    done = generate(steps.draft, STEP)
    assert done == {"step": STEP.step_id, "failed": "ValueError"}
    assert sent[0]["kwargs"]["submission"]["error"]["reason"] == "a fault of ours"


def test_a_step_of_an_engine_that_is_lost_is_left_for_another_process(
    sent: list[dict[str, Any]],
) -> None:
    dependencies.install_generator(Generating(raises=EngineLost("the device is gone")))
    with pytest.raises(EngineLost):
        generate(steps.draft, STEP)
    assert sent == []


def test_a_completion_that_the_broker_does_not_take_is_told_instead(
    sent: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    size = PreconditionFailed("message size 30105 is larger than configured max size 20000")
    accepted = app.send_task
    errors = [size]

    def send_task(name: str, **options: Any) -> None:
        if errors:
            raise errors.pop()
        accepted(name, **options)

    monkeypatch.setattr(app, "send_task", send_task)
    dependencies.install_generator(Generating())
    done = generate(steps.draft, STEP)
    assert done == {"step": STEP.step_id, "failed": "TooLarge"}
    (told,) = sent
    assert "message size 30105" in told["kwargs"]["submission"]["error"]["reason"]


def test_a_step_that_is_handed_back_is_told_under_its_participants_key(
    sent: list[dict[str, Any]],
) -> None:
    dependencies.install_generator(Generating())
    with message(steps.draft, redelivered=True) as task:
        done = task.run(step=STEP.model_dump(mode="json"))
    assert done == {"step": STEP.step_id, "returned": "attempt-1"}
    (told,) = sent
    assert (told["name"], told["routing_key"]) == ("colm.attempt", "draft.ada")
    assert told["queue"].name == "colm.submissions"
    assert told["kwargs"]["attempt"]["kind"] == "returned"


@pytest.mark.parametrize(
    ("task", "step", "more", "reason"),
    [
        (steps.refine, STEP, {}, "is not for this worker"),
        (steps.select, STEP, {}, "is not for this worker"),
        (steps.draft, a_step("bo"), {}, "is not for this worker"),
        (steps.draft, {"nonsense": 1}, {}, "the step cannot be used"),
        (steps.draft, STEP, {"surprise": 1}, "one keyword argument"),
    ],
)
def test_a_step_that_is_not_for_this_worker_is_rejected(
    sent: list[dict[str, Any]],
    task: Task[..., Any],
    step: object,
    more: dict[str, Any],
    reason: str,
) -> None:
    dependencies.install_generator(Generating())
    with pytest.raises(Reject, match=reason) as rejected:
        generate(task, step, **more)
    assert rejected.value.args[1] is False  # not put back into its queue
    assert sent == []


def test_every_act_has_its_task() -> None:
    for act in get_args(Act):
        assert getattr(steps, act).name == f"colm.{act}"
        assert f"colm.{act}" in app.tasks
    assert (ask.name, submit.name) == ("colm.ask", "colm.submit")


def test_a_process_that_was_not_started_for_a_task_says_so() -> None:
    with pytest.raises(dependencies.NotInstalled, match="colm coordinator"):
        deliver(submitted(STEP))
    with message(ask) as task, pytest.raises(dependencies.NotInstalled):
        task.run(QUESTION)
    with pytest.raises(dependencies.NotInstalled):
        generate(steps.draft, STEP)
    with pytest.raises(dependencies.NotInstalled):
        dependencies.record()
