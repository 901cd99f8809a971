"""The Celery task `colm.ask`: a caller publishes it, a coordinator opens the query.

The task returns before the query ends. The commit of the answer resolves the AsyncResult.
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
from colm.tasks.celery_canvas import CELERY_OPTIONS, CallerTask, check_options
from colm.tasks.rejection import record_refusal, refuse

if TYPE_CHECKING:  # keeps a caller's import light
    from colm.models.messages import AskRequest

logger = logging.getLogger(__name__)


class AskTask(CallerTask):
    """Validates a question in the caller's process, before anything is sent."""

    def apply_async(  # type: ignore[override]  # the stubs name every option
        self, args: Any = None, kwargs: Any = None, task_id: str | None = None, **options: Any
    ) -> AsyncResult[Any]:
        """Validate and publish. Raises InvalidAsk and what `publish` raises."""
        from colm.models.errors import InvalidAsk
        from colm.models.roster import check_query_id
        from colm.tasks.config.settings import settings

        check_options(self.called, options)
        positional, named = self.arguments(args, kwargs)
        query_id = task_id or str(uuid.uuid4())
        check_query_id(query_id)
        try:
            request = self._request(positional, named)
        except InvalidAsk:
            if not _next_in_chain(options):
                raise
            # The coordinator reports the error: the chain's caller waits in another process.
            return self._send(query_id, positional, named, {}, options)
        summary: dict[str, Any] = {
            "strategy": request.strategy,
            "characters": len(request.question),
        }
        if settings().show_texts:
            summary["question"] = request.question[:200]
        if request.clients:
            summary["clients"] = ",".join(request.clients)
        fields = request.model_dump(mode="json", exclude={"question"}, exclude_defaults=True)
        if task_id is None:
            return self._send(query_id, (request.question,), fields, summary, options)
        previous = _digest_of(task_id)
        digest = hashlib.sha256(request.model_dump_json().encode()).hexdigest()
        if previous and previous != [digest]:
            raise InvalidAsk(
                f"this process has sent another question as {task_id!r}: an id names one question"
            )
        result = self._send(query_id, (request.question,), fields, summary, options)
        previous[:] = [digest]
        return result

    def check(self, signature: Signature[Any]) -> None:
        super().check(signature)
        named = signature.kwargs
        if signature.args or "question" in named:  # else the question is still to come
            self._request(signature.args, {k: v for k, v in named.items() if k != "images"})

    def _request(self, positional: Sequence[Any], named: Mapping[str, Any]) -> AskRequest:
        """The validated request; its images are in the site's store. Raises InvalidAsk."""
        from colm.models.errors import InvalidAsk
        from colm.models.roster import make_request

        if len(positional) > 1:
            raise InvalidAsk("ask takes one argument by position, the question; name the others")
        if celerys := sorted(CELERY_OPTIONS & set(named)):
            raise InvalidAsk(
                f"{', '.join(celerys)}: an option of Celery's and not of the question: "
                f"ask.apply_async((question,), {{...}}, {celerys[0]}=...)"
            )
        question, options = _bind(*positional, **named)
        if options.get("images"):
            options = {**options, "images": _store(options["images"])}
        return make_request(question, options)

    def _send(
        self,
        query_id: str,
        args: Sequence[Any],
        fields: Mapping[str, Any],
        summary: Mapping[str, Any],
        options: Mapping[str, Any],
    ) -> AsyncResult[Any]:
        from colm.tasks.broker.publish import topology

        return self.send(
            topology().ask(),
            task_id=query_id,
            args=args,
            kwargs=fields,
            summary=summary,
            options=options,
            what=f"query {query_id}",
            check=f"'colm show {query_id}' tells",
        )


@lru_cache(maxsize=4_096)
def _digest_of(task_id: str) -> list[str]:  # noqa: ARG001 - the key
    """Mutable cache entry: the digest of the question that this process sent as `task_id`."""
    return []


def _next_in_chain(options: Mapping[str, Any]) -> bool:
    """Whether a worker sends it as the next task of a chain."""
    return "chain" in options and app.current_worker_task is not None


def _bind(*args: Any, **options: Any) -> tuple[Any, Mapping[str, Any]]:
    """The question and its options. `make_request` refuses several questions."""
    if not args:
        return options.pop("question", None), options
    return args[0] if len(args) == 1 else args, options


def _store(images: Any) -> tuple[str, ...]:
    """Put a caller's images into the site's store; their ids."""
    from colm.models.errors import InvalidAsk
    from colm.tasks.images.client import keep

    if isinstance(images, (str, bytes)) or not isinstance(images, Sequence):
        raise InvalidAsk("images is a list of paths, bytes or names of images in our store")
    return keep(images)


@app.task(bind=True, base=AskTask, name="colm.ask", ignore_result=False)
def ask(self: Task[..., Any], *args: Any, **options: Any) -> NoReturn:
    """Ask a question; the AsyncResult resolves to an Answer (see `colm.models.messages.Answer`).

    ask.delay("question", strategy="colm", clients=["ada", "bo"], rounds=2, seed=7, ...)

    Options of every strategy: clients, server, seed, max_new_tokens, temperature, deadline
    (seconds), images (a list of paths, bytes, or `sha256:ID` of one in the site's store). A
    strategy's own (`rounds`, `select`, `quorum`, ...) are in docs/reference/strategies.md.
    """
    from colm.models.errors import InvalidAsk, TransientError, plainly
    from colm.models.roster import check_query_id

    question, fields = _bind(*args, **options)
    query_id = str(self.request.id)
    try:
        check_query_id(query_id)
    except InvalidAsk as error:  # no caller can wait for such an id
        refuse(self, str(error), {"args": args, **options})
    coordinator = dependencies.coordinator()
    try:
        retry_transient(lambda: coordinator.accept(query_id, question, fields))
    except Exception as error:
        # An internal error must not leave the caller waiting. A query that was opened goes on.
        logger.exception("ask %s cannot be accepted", query_id)
        reason = f"the coordinator failed: {plainly(error)}"
        record_refusal(query_id, reason, str(question))
        if isinstance(error, TransientError):
            raise  # retried long enough: the message is dead-lettered
        refuse(self, reason, {"args": args, **options})
    raise Ignore("the record resolves the result when the query ends")
