"""The Celery app. Light to import: its configuration is read at the first use of `app.conf`."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from kombu import pools

from colm.models.errors import InvalidAsk

#: The tasks that callers call: what is sent by name is checked like what is called.
CALLERS = ("colm.ask", "colm.cancel", "colm.evaluate")


class App(Celery):
    """CoLM's own: its workers take its own tasks and no others, and revoking cancels."""

    control_cls = "colm.tasks.revocation:Control"

    def send_task(  # type: ignore[override]  # the stubs name every option
        self, name: str, args: Any = None, kwargs: Any = None, **options: Any
    ) -> Any:
        """Send by name. Raises InvalidAsk for what no worker of ours would take."""
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


def _start_anew() -> None:
    """In a forked child: connections of its own. The parent's are left to it, and not closed."""
    here: Any = app  # the stubs leave out what is not for everybody
    for group in (pools.connections, pools.producers):
        for key, found in list(group.items()):
            if here._pool is not None and here._pool in (
                found,
                getattr(found, "connections", None),
            ):
                dict.pop(group, key)  # by the key as it is, not as the group would make it
    here._after_fork()
    here.__dict__.pop("control", None)  # which holds a pool of its own


os.register_at_fork(after_in_child=_start_anew)
