"""Cancellation of a query: `tasks.cancel.delay(query_id, reason)`.

The message has a queue of its own, so that it overtakes waiting questions. The query fails with the
canceller and the reason, and its open steps are stopped.
"""

from __future__ import annotations

import getpass
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from celery import Task
from celery.result import AsyncResult

from colm.tasks import dependencies
from colm.tasks.broker.retry import retry_transient
from colm.tasks.celery_app import app
from colm.tasks.celery_canvas import CallerTask, check_options

if TYPE_CHECKING:  # keeps a caller's import light
    from colm.models.cancellation import Cancel
    from colm.tasks.interfaces import Cancelled, Coordinator


class CancelTask(CallerTask):
    """Validates a cancellation in the caller's process, before anything is sent."""

    def apply_async(  # type: ignore[override]  # the stubs name every option
        self, args: Any = None, kwargs: Any = None, task_id: str | None = None, **options: Any
    ) -> AsyncResult[Any]:
        """Validate and publish. The query's own result shows the cancellation.

        Raises InvalidAsk and what `publish` raises.
        """
        from colm.tasks.broker.publish import topology

        check_options(self.called, {k: v for k, v in options.items() if k != "ignore_result"})
        positional, named = self.arguments(args, kwargs)
        names = dict(zip(("query_id", "reason"), positional, strict=False))
        fields = _validated(positional, {"by": _whoami(), **names, **named})
        return self.send(
            topology().control(),
            task_id=task_id or f"{fields['query_id']}.cancel",
            kwargs=fields,
            summary={"query": fields["query_id"]},
            options=options,
            what=f"the cancellation of {fields['query_id']}",
            check="cancel again, which is harmless",
            ignore_result=True,
        )


@app.task(bind=True, base=CancelTask, name="colm.cancel", ignore_result=True)
def cancel(
    self: Task[..., Any],  # noqa: ARG001 - Celery binds it
    *args: Any,
    **fields: Any,
) -> dict[str, str]:
    """Fail a query and stop its steps: `cancel.delay("4f1c...", "asked by mistake")`.

    An ended query is unchanged. A question that is still queued is refused once it is delivered.
    Repeats are harmless.
    """
    from colm.models.cancellation import Cancel
    from colm.models.messages import decode

    names = dict(zip(("query_id", "reason"), args, strict=False))
    request = decode(Cancel, {**names, **fields}, what="the cancel")
    receipt = retry_transient(lambda: cancel_or_refuse(dependencies.coordinator(), request))
    return {"receipt": receipt, "query": request.query_id}


def cancel_or_refuse(coordinator: Coordinator, request: Cancel) -> Cancelled:
    """Cancel the query. An unknown one is recorded as refused: its question may still be queued."""
    receipt = coordinator.cancel(request)
    if receipt != "unknown":
        return receipt
    now = coordinator.clock()
    coordinator.record.refuse(request.query_id, "", "unknown", request.failure, now)
    return coordinator.cancel(request)  # its question may have been accepted meanwhile


def _validated(args: Sequence[Any], fields: dict[str, Any]) -> dict[str, Any]:
    from colm.models.cancellation import Cancel
    from colm.models.errors import BadMessage, InvalidAsk
    from colm.models.messages import decode

    if len(args) > 2:
        raise InvalidAsk("cancel takes a query id and a reason")
    try:
        return decode(Cancel, fields, what="the cancel").model_dump(mode="json")
    except BadMessage as error:
        raise InvalidAsk(str(error)) from error


def _whoami() -> str:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # the user of a container may have no name
        name = "somebody"
    return f"{name}@{socket.gethostname()}"[:200]
