"""What coordinators run: `colm.ask` opens a query, `colm.submit` moves one on.

Neither computes anything: a query that waits for its models occupies no worker. `colm.ask` returns
at once and leaves the result to the record, which resolves the caller's AsyncResult in the commit
that stores the answer.
"""

from __future__ import annotations

import hashlib
import json
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from celery import Task
from celery.canvas import Signature
from celery.exceptions import Ignore, Reject
from celery.result import AsyncResult

from tasks import runtime
from tasks.calling import CELERYS, CallersTask, check_options
from tasks.celery_app import app
from tasks.limits import Allowance, letters_allowance
from tasks.patience import patiently

if TYPE_CHECKING:  # a caller imports this module too, and must stay light
    from models.messages import AskRequest, StepKey, Submission
    from tasks.coordination import Coordinator
    from tasks.ports import Receipt

logger = logging.getLogger(__name__)

K = TypeVar("K", bound="StepKey")

#: How much of an unusable message is kept for the operator (characters).
KEPT_BODY = 20_000
#: How much of a message's id, which a stranger may have made (characters).
KEPT_ID = 200


class AskTask(CallersTask):
    """A question is checked in the caller's process, before anything is sent."""

    def apply_async(  # type: ignore[override]  # the stubs name every option
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        **options: Any,
    ) -> AsyncResult[Any]:
        """Check and publish. Raises InvalidAsk and what `publish` raises."""
        from models.errors import InvalidAsk
        from models.roster import check_query_id
        from tasks.settings import settings

        check_options(self.called, options)
        given, named = self.arguments(args, kwargs)
        query_id = task_id or str(uuid.uuid4())
        check_query_id(query_id)
        try:
            request = self._request(given, named)
        except InvalidAsk:
            if not _next_in_chain(options):
                raise
            # Whoever made the chain waits elsewhere, and hears of it from the coordinator.
            return self._send(query_id, given, named, {}, options)
        shown: dict[str, Any] = {"strategy": request.strategy, "characters": len(request.question)}
        if settings().show_texts:
            shown["question"] = request.question[:200]
        if request.clients:
            shown["clients"] = ",".join(request.clients)
        asked = request.model_dump(mode="json", exclude={"question"}, exclude_defaults=True)
        if task_id is None:
            return self._send(query_id, (request.question,), asked, shown, options)
        before = _asked_as(task_id)
        now = hashlib.sha256(request.model_dump_json().encode()).hexdigest()
        if before and before != [now]:
            raise InvalidAsk(
                f"this process has asked something else as {task_id!r}: an id names one question"
            )
        result = self._send(query_id, (request.question,), asked, shown, options)
        before[:] = [now]
        return result

    def check(self, found: Signature[Any]) -> None:
        super().check(found)
        if found.args or "question" in found.kwargs:  # else the question is still to come
            self._request(found.args, {k: v for k, v in found.kwargs.items() if k != "images"})

    def _request(self, given: Sequence[Any], named: Mapping[str, Any]) -> AskRequest:
        """What is asked, its images in the site's store. Raises InvalidAsk."""
        from models.errors import InvalidAsk
        from models.roster import make_request

        if len(given) > 1:
            raise InvalidAsk("ask takes one argument by position, the question; name the others")
        if celerys := sorted(CELERYS & set(named)):
            raise InvalidAsk(
                f"{', '.join(celerys)}: an option of Celery's and not of the question: "
                f"ask.apply_async((question,), {{...}}, {celerys[0]}=...)"
            )
        question, asked = _bind(*given, **named)
        if asked.get("images"):
            asked = {**asked, "images": _kept(asked["images"])}
        return make_request(question, asked)

    def _send(
        self,
        query_id: str,
        args: Sequence[Any],
        asked: Mapping[str, Any],
        shown: Mapping[str, Any],
        options: Mapping[str, Any],
    ) -> AsyncResult[Any]:
        from tasks.publishing import topology

        queue = topology().ask()
        return self.send(
            queue, task_id=query_id, args=args, kwargs=asked, shown=shown, options=options
        )


@lru_cache(maxsize=4_096)
def _asked_as(task_id: str) -> list[str]:  # noqa: ARG001 - the key
    """A digest of what this process has asked under an id of the caller's; empty before that."""
    return []


def _next_in_chain(options: Mapping[str, Any]) -> bool:
    """Whether a worker sends it because the task before it has succeeded."""
    return "chain" in options and app.current_worker_task is not None


def _bind(*args: Any, **asked: Any) -> tuple[Any, Mapping[str, Any]]:
    """The question and its options; several questions are left for `make_request` to refuse."""
    if not args:
        return asked.pop("question", None), asked
    return args[0] if len(args) == 1 else args, asked


def _kept(images: Any) -> tuple[str, ...]:
    """The ids of a caller's images, which are in the site's store from now on."""
    from models.errors import InvalidAsk
    from tasks.images import keep

    if isinstance(images, (str, bytes)) or not isinstance(images, Sequence):
        raise InvalidAsk("images is a list of paths, bytes or names of images in our store")
    return keep(images)


@app.task(bind=True, base=AskTask, name="colm.ask", ignore_result=False)
def ask(
    self: Task,  # type: ignore[type-arg]  # generic in the stubs only
    *args: Any,
    **options: Any,
) -> NoReturn:
    """Ask a question; the AsyncResult resolves to an Answer (see `models.messages.Answer`).

    ask.delay("question", strategy="colm", clients=["ada", "bo"], rounds=2, seed=7, ...)

    Options of every strategy: clients, server, seed, max_new_tokens, temperature, deadline
    (seconds), images (a list of paths, bytes, or `sha256:ID` of one in the site's store). A
    strategy's own (`rounds`, `select`, `quorum`, ...) are in docs/strategies.md.
    """
    from models.errors import InvalidAsk, TransientError, plainly
    from models.roster import check_query_id

    question, asked = _bind(*args, **options)
    query_id = str(self.request.id)
    try:
        check_query_id(query_id)
    except InvalidAsk as error:  # nobody can wait for such an id
        refuse(self, str(error), {"args": args, **options})
    coordinator = runtime.coordinator()
    try:
        patiently(lambda: coordinator.accept(query_id, question, asked))
    except Exception as error:
        # A fault of ours must not leave the caller waiting. A query that was begun goes on.
        logger.exception("ask %s cannot be accepted", query_id)
        reason = f"the coordinator failed: {plainly(error)}"
        end_refused(query_id, reason, str(question))
        if isinstance(error, TransientError):
            raise  # enough of it has been waited for: the letter waits on
        refuse(self, reason, {"args": args, **options})
    raise Ignore("the record resolves the result when the query ends")


@app.task(bind=True, name="colm.submit", shared=False)
def submit(self: Task, *args: Any, **fields: Any) -> dict[str, str]:  # type: ignore[type-arg]
    """Take what a participant sends for a step. Repeats are harmless, strangers are refused."""
    from models.messages import Submission

    return _take(
        self, "submission", Submission, lambda c, told: c.submit(_theirs(told)), args, fields
    )


def _theirs(told: Submission) -> Submission:
    """A submission as it came, but for a kind of failure that only coordinators may tell of."""
    from models.reliability import NOT_THEIRS

    if told.error is None or told.error.kind not in NOT_THEIRS:
        return told
    return told.model_copy(update={"error": told.error.model_copy(update={"kind": "Failed"})})


@app.task(bind=True, name="colm.attempt", shared=False)
def attempt(self: Task, *args: Any, **fields: Any) -> dict[str, str]:  # type: ignore[type-arg]
    """Take what a participant tells of a step that may have killed a worker."""
    from models.messages import Attempt

    return _take(self, "attempt", Attempt, lambda c, told: c.attempt(told), args, fields)


def _take(
    task: Task,  # type: ignore[type-arg]
    name: str,
    kind: type[K],
    take: Callable[[Coordinator, K], Receipt],
    args: tuple[Any, ...],
    fields: dict[str, Any],
) -> dict[str, str]:
    """Hand what a participant sent to the coordinator, if it is what it should be, and its own."""
    from models.errors import BadMessage, UnknownQuery
    from models.messages import decode
    from tasks.origins import letter_id
    from tasks.settings import settings
    from tasks.topology import SUBMISSIONS, submission_key

    came_by = str((task.request.delivery_info or {}).get("routing_key"))
    try:
        if not _submissions().take(came_by):
            most = settings().limits.submissions_per_second
            raise BadMessage(f"{came_by!r} submits more than {most:g} times a second")
        if args or set(fields) != {name}:
            article = "an" if name[0] in "aeiou" else "a"
            raise BadMessage(f"{article} {name} is one keyword argument called {name!r}")
        told = decode(kind, fields[name], what=f"the {name}")
        own = {submission_key(role, told.participant) for role in ("client", "server")}
        if came_by not in own:
            raise BadMessage(f"{told.participant!r} may not submit under {came_by!r}")
        receipt = _recorded(take, told)
        if receipt == "unasked":
            raise BadMessage(f"step {told.step_id} was never asked")
    except (BadMessage, UnknownQuery) as error:
        reason = str(error)
        known = letter_id(task.request.id, came_by, SUBMISSIONS, datetime.now(UTC))
        if not _letters.take(came_by):
            raise Ignore("enough letters of this participant are recorded") from error
        if denied := _letters.denied(came_by):
            reason += f" (not recorded before it: {denied} of this participant)"
        refuse(task, reason, fields, known)
    return {"receipt": receipt, "step": told.step_id}


def _recorded(take: Callable[[Coordinator, K], Receipt], told: K) -> Receipt:
    """What the coordinator says to it. Its step ends with the reason where it cannot be recorded.

    Raises BadMessage then, so that what came is kept as a dead letter, and TransientError where the
    database has been away for too long.
    """
    from models.errors import BadMessage, TransientError, UnknownQuery, plainly

    coordinator = runtime.coordinator()
    try:
        return patiently(lambda: take(coordinator, told))
    except (BadMessage, TransientError, UnknownQuery):
        raise
    except Exception as error:
        logger.exception("step %s: what came cannot be recorded", told.step_id)
        why = plainly(error)
    try:
        if coordinator.not_recorded(told, why) == "repeated":
            return "recorded"  # it was: what was to follow from it failed
    except Exception:  # it expires at its deadline
        logger.exception("step %s cannot be recorded as failed", told.step_id)
    raise BadMessage(f"it could not be recorded: {why}")


@cache
def _submissions() -> Allowance:
    """What each participant may submit to this process: two seconds' worth at once."""
    from tasks.settings import settings

    per_second = settings().limits.submissions_per_second
    return Allowance(per_second, max(16.0, 2 * per_second))


_letters = letters_allowance()


def end_refused(query_id: str, reason: str, question: str = "") -> None:
    """End an ask that never became a query, so that its caller hears why. Never raises.

    What the record cannot hold is escaped.
    """
    from models.errors import escaped

    for told in (str, escaped):
        try:
            now = datetime.now(UTC)
            runtime.record().refuse(query_id, told(question), "unknown", told(reason), now)
        except Exception as error:  # the caller's last word, in loops that must go on
            logger.exception("the end of ask %s is not recorded: %r", query_id, error)
        else:
            return


def refuse(
    task: Task,  # type: ignore[type-arg]
    reason: str,
    fields: Mapping[str, Any],
    message_id: str | None = None,
) -> NoReturn:
    """Record an unusable message with its reason and have the broker dead-letter it."""
    from tasks.ports import DeadLetter

    info = task.request.delivery_info or {}
    letter = DeadLetter(
        message_id=message_id or str(task.request.id)[:KEPT_ID],
        task=str(task.name),
        queue=str(info.get("routing_key")),
        reason=reason,
        at=datetime.now(UTC),
        body=json.dumps(fields, default=repr)[:KEPT_BODY],
    )
    logger.warning("dead letter from %s: %s", letter.queue, reason)
    try:
        patiently(lambda: runtime.record().add_dead_letter(letter))
    except Exception:  # on RabbitMQ the reader of the dead letters tries it again
        logger.exception("letter %s is not recorded", letter.message_id)
    raise Reject(reason, requeue=False)
