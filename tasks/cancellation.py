"""Ending a query before its time: `tasks.cancel.delay(query_id, reason)`.

The message goes to a queue of its own, so that it overtakes the questions that wait. The answer to
the query becomes a failure that says who cancelled it and why; its steps are not generated any
more.
"""

from __future__ import annotations

import getpass
import socket
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from celery import Task
from celery.result import AsyncResult

from colm.tasks import dependencies
from colm.tasks.broker.retry import retry_transient
from colm.tasks.celery_app import app
from colm.tasks.celery_canvas import CallersTask, check_options

if TYPE_CHECKING:  # a caller imports this module too, and must stay light
    from colm.models.cancellation import Cancel
    from colm.tasks.interfaces import Cancelled, Coordinator


class CancelTask(CallersTask):
    """A wish to cancel is checked in the caller's process, before anything is sent."""

    def apply_async(  # type: ignore[override]  # the stubs name every option
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        **options: Any,
    ) -> AsyncResult[Any]:
        """Check and publish. Raises InvalidAsk and what `publish` raises.

        What becomes of it is told by the query's own result.
        """
        from colm.tasks.broker.publish import topology

        check_options(self.called, {k: v for k, v in options.items() if k != "ignore_result"})
        given, named = self.arguments(args, kwargs)
        names = dict(zip(("query_id", "reason"), given, strict=False))
        wanted = _checked(given, {"by": _whoami(), **names, **named})
        return self.send(
            topology().control(),
            task_id=task_id or f"{wanted['query_id']}.cancel",
            kwargs=wanted,
            shown={"query": wanted["query_id"]},
            options=options,
            what=f"the cancellation of {wanted['query_id']}",
            check="cancel again, which is harmless",
            ignore_result=True,
        )


@app.task(bind=True, base=CancelTask, name="colm.cancel", ignore_result=True)
def cancel(
    self: Task[..., Any],  # noqa: ARG001 - Celery binds it
    *args: Any,
    **fields: Any,
) -> dict[str, str]:
    """End a query as failed and stop what is generated for it.

    cancel.delay("4f1c...", "asked by mistake")

    A query that has ended stays as it is. A question that still lies in its queue is refused when
    it comes out. Repeats are harmless.
    """
    from colm.models.cancellation import Cancel
    from colm.models.messages import decode

    names = dict(zip(("query_id", "reason"), args, strict=False))
    wanted = decode(Cancel, {**names, **fields}, what="the cancel")
    receipt = retry_transient(lambda: carry_out(dependencies.coordinator(), wanted))
    return {"receipt": receipt, "query": wanted.query_id}


def carry_out(coordinator: Coordinator, wanted: Cancel) -> Cancelled:
    """End the query, or have it refused when it comes: its question may lie in its queue."""
    receipt = coordinator.cancel(wanted)
    if receipt != "unknown":
        return receipt
    now = coordinator.clock()
    coordinator.record.refuse(wanted.query_id, "", "unknown", wanted.told, now)
    return coordinator.cancel(wanted)  # it may have come between the two


def _checked(args: Sequence[Any], fields: dict[str, Any]) -> dict[str, Any]:
    from colm.models.cancellation import Cancel
    from colm.models.errors import BadMessage, InvalidAsk
    from colm.models.messages import decode

    if len(args) > 2:
        raise InvalidAsk("cancel takes a query id and a reason")
    try:
        wanted = decode(Cancel, fields, what="the cancel")
    except BadMessage as error:
        raise InvalidAsk(str(error)) from error
    return wanted.model_dump(mode="json")


def _whoami() -> str:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        name = "somebody"
    return f"{name}@{socket.gethostname()}"[:200]
