"""The Celery task `colm.ask`: callers publish it, a coordinator runs it and opens the query.

The task returns before the query ends and occupies no worker meanwhile. The commit that stores the
answer resolves the caller's AsyncResult.
"""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

from celery import Task
from celery.canvas import Signature
from celery.exceptions import Ignore
from celery.result import AsyncResult

from colm.tasks import dependencies
from colm.tasks.broker.retry import retry_transient
from colm.tasks.celery_app import app
from colm.tasks.celery_canvas import CELERYS, CallersTask, check_options
from colm.tasks.rejection import end_refused, refuse

if TYPE_CHECKING:  # a caller imports this module too, and must stay light
    from colm.models.messages import AskRequest

logger = logging.getLogger(__name__)


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
        from colm.models.errors import InvalidAsk
        from colm.models.roster import check_query_id
        from colm.tasks.config.settings import settings

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
        from colm.models.errors import InvalidAsk
        from colm.models.roster import make_request

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
        from colm.tasks.broker.publish import topology

        queue = topology().ask()
        return self.send(
            queue,
            task_id=query_id,
            args=args,
            kwargs=asked,
            shown=shown,
            options=options,
            what=f"query {query_id}",
            check=f"'colm show {query_id}' tells",
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
    from colm.models.errors import InvalidAsk
    from colm.tasks.images.client import keep

    if isinstance(images, (str, bytes)) or not isinstance(images, Sequence):
        raise InvalidAsk("images is a list of paths, bytes or names of images in our store")
    return keep(images)


@app.task(bind=True, base=AskTask, name="colm.ask", ignore_result=False)
def ask(
    self: Task[..., Any],
    *args: Any,
    **options: Any,
) -> NoReturn:
    """Ask a question; the AsyncResult resolves to an Answer (see `colm.models.messages.Answer`).

    ask.delay("question", strategy="colm", clients=["ada", "bo"], rounds=2, seed=7, ...)

    Options of every strategy: clients, server, seed, max_new_tokens, temperature, deadline
    (seconds), images (a list of paths, bytes, or `sha256:ID` of one in the site's store). A
    strategy's own (`rounds`, `select`, `quorum`, ...) are in docs/strategies.md.
    """
    from colm.models.errors import InvalidAsk, TransientError, plainly
    from colm.models.roster import check_query_id

    question, asked = _bind(*args, **options)
    query_id = str(self.request.id)
    try:
        check_query_id(query_id)
    except InvalidAsk as error:  # nobody can wait for such an id
        refuse(self, str(error), {"args": args, **options})
    coordinator = dependencies.coordinator()
    try:
        retry_transient(lambda: coordinator.accept(query_id, question, asked))
    except Exception as error:
        # A fault of ours must not leave the caller waiting. A query that was begun goes on.
        logger.exception("ask %s cannot be accepted", query_id)
        reason = f"the coordinator failed: {plainly(error)}"
        end_refused(query_id, reason, str(question))
        if isinstance(error, TransientError):
            raise  # enough of it has been waited for: the letter waits on
        refuse(self, reason, {"args": args, **options})
    raise Ignore("the record resolves the result when the query ends")
