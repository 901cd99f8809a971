"""Ending a query before its time: `tasks.cancel.delay(query_id, reason)`.

The message goes to a queue of its own, so that it overtakes the questions that wait. The answer to
the query becomes a failure that says who cancelled it and why; its steps are not generated any
more.
"""

from __future__ import annotations

import getpass
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from celery import Task
from celery.result import AsyncResult

from tasks import runtime
from tasks.celery_app import app
from tasks.patience import patiently
from tasks.queries import CALLERS_PATIENCE


class CancelTask(Task):  # type: ignore[type-arg]  # generic in the stubs only
    """A task whose arguments are checked in the caller's process, before anything is sent."""

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
        from tasks.publishing import publish, topology

        names = dict(zip(("query_id", "reason"), args or (), strict=False))
        wanted = _checked(args or (), {"by": _whoami(), **names, **(kwargs or {})})
        result: AsyncResult[Any] = publish(
            self.app,
            self.name,
            topology().control(),
            task_id=task_id or f"{wanted['query_id']}.cancel",
            kwargs=wanted,
            shown={"query": wanted["query_id"]},
            declare=True,
            retry_policy=CALLERS_PATIENCE,
            ignore_result=True,
            **options,
        )
        return result


@app.task(bind=True, base=CancelTask, name="colm.cancel", ignore_result=True)
def cancel(
    self: Task,  # type: ignore[type-arg]  # noqa: ARG001 - Celery binds it
    *args: Any,
    **fields: Any,
) -> dict[str, str]:
    """End a query as failed and stop what is generated for it.

    cancel.delay("4f1c...", "asked by mistake")

    A query that has ended stays as it is, and so does one that the record does not know: both are
    told in the coordinator's log. Repeats are harmless.
    """
    from models.messages import decode
    from models.stopping import Cancel

    names = dict(zip(("query_id", "reason"), args, strict=False))
    wanted = decode(Cancel, {**names, **fields}, what="the cancel")
    receipt = patiently(lambda: runtime.coordinator().cancel(wanted))
    return {"receipt": receipt, "query": wanted.query_id}


def _checked(args: Sequence[Any], fields: dict[str, Any]) -> dict[str, Any]:
    from models.errors import BadMessage, InvalidAsk
    from models.messages import decode
    from models.stopping import Cancel

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
