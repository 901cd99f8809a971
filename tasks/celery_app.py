"""The Celery app. Its configuration is read at the first use of `app.conf`."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from kombu import pools

from colm.models.errors import InvalidAsk

#: Tasks for callers. A send by name is validated like a call.
CALLERS = ("colm.ask", "colm.cancel", "colm.evaluate")


class App(Celery):
    """Celery app that sends CoLM's tasks only. Revoking cancels."""

    control_cls = "colm.tasks.revocation:Control"

    def send_task(  # type: ignore[override]  # the stubs name every option
        self, name: str, args: Any = None, kwargs: Any = None, **options: Any
    ) -> Any:
        """Send by name. Raises InvalidAsk for a task that is not CoLM's."""
        if not name.startswith("colm."):
            raise InvalidAsk(
                f"CoLM's workers run no {name!r}: send it with a Celery app of your own"
            )
        if name in CALLERS and "task_type" not in options:
            return self.tasks[name].apply_async(args, kwargs, **options)
        return super().send_task(name, args, kwargs, **options)


app = App(
    "colm",
    config_source="colm.tasks.celery_config",
    include=[
        "colm.tasks.queries",
        "colm.tasks.submissions",
        "colm.tasks.steps",
        "colm.tasks.evaluations",
        "colm.tasks.cancellation",
    ],
    set_as_current=False,
)


def _drop_inherited_pools() -> None:
    """Give a forked child connections of its own, without closing the parent's."""
    forked: Any = app  # the stubs leave private attributes out
    for group in (pools.connections, pools.producers):
        for key, pool in list(group.items()):
            if forked._pool is not None and forked._pool in (
                pool,
                getattr(pool, "connections", None),
            ):
                dict.pop(group, key)  # the group's own pop would rebuild the key
    forked._after_fork()
    forked.__dict__.pop("control", None)  # it holds a pool of its own


os.register_at_fork(after_in_child=_drop_inherited_pools)
