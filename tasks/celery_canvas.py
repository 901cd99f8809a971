"""Base class of the tasks for callers, and Celery's canvas with them.

Groups, signatures and task ids work. Everything else that Celery offers raises InvalidAsk in the
caller's process, before anything is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from celery import Task, group
from celery.canvas import Signature
from celery.result import AsyncResult as Result
from kombu import Producer, Queue

from colm.models.errors import InvalidAsk
from colm.tasks.broker.sending import RETRY_POLICY, sending
from colm.tasks.celery_app import app

#: Options that Celery passes to members of a group and a chain; they do not concern the message.
RESULT_OPTIONS = {"add_to_parent", "group_id", "group_index", "producer", "publisher", "reply_to"}
PASSED_OPTIONS = {"parent_id", "retry", "root_id"}
#: Refused options of `apply_async`, by reason.
REFUSED_OPTIONS = {
    "the caller continues with a result: get() it, then send the next task": (
        *("chain", "chord", "link", "link_error"),
    ),
    "it starts at once and ends by its deadline": (
        *("countdown", "eta", "expiration", "expires", "soft_time_limit", "time_limit"),
    ),
    "its queue is fixed by the site": (
        *("connection", "declare", "delivery_mode", "exchange", "exchange_type", "immediate"),
        *("mandatory", "queue", "route_name", "router", "routing_key"),
    ),
    "the form of its message is fixed": (
        *("argsrepr", "compression", "content_encoding", "content_type", "headers", "kwargsrepr"),
        *("serializer", "shadow", "stamped_headers"),
    ),
    "it has no priority: pass lane='overnight' for a question that can wait": ("priority",),
    "its result is recorded in any case": ("ignore_result",),
    "the retries of its publish are fixed": (
        *("confirm_timeout", "retries", "retry_policy", "timeout"),
    ),
    "it cannot replace a task of another result backend: send it, and return its id": (
        "replaced_task_nesting",
    ),
}
_WHY = {option: why for why, options in REFUSED_OPTIONS.items() for option in options}
#: Accepted values of refused options: the default serializer, and the header of Celery beat.
ACCEPTED_VALUES = [("serializer", "json"), ("headers", {"celery_beat_task": True})]
#: Every option of `apply_async` that is no argument of a task.
CELERY_OPTIONS = {"task_id", *RESULT_OPTIONS, *PASSED_OPTIONS, *_WHY}


class CallerTask(Task):  # type: ignore[type-arg]  # generic in the stubs only
    """Task that is validated in the caller's process and always sent by CoLM's app.

    Celery registers it with every app of the process, which may use another broker.
    """

    @property
    def called(self) -> str:
        """The name without the prefix `colm.`."""
        return str(self.name).removeprefix("colm.")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.request.called_directly:
            raise InvalidAsk(
                f"{self.called}(...) would run in this process, which is no coordinator: "
                f"{self.called}.delay(...) sends it"
            )
        return self.run(*args, **kwargs)

    def apply(self, *_args: Any, **_options: Any) -> NoReturn:
        raise InvalidAsk(
            f"{self.called} cannot be applied in this process, which is no coordinator: "
            f"{self.called}.delay(...) sends it"
        )

    def retry(self, *_args: Any, **_options: Any) -> NoReturn:
        raise InvalidAsk(f"{self.called} is not retried by a worker: send it again")

    def signature(
        self, args: Any = None, kwargs: Any = None, *more: Any, **options: Any
    ) -> Signature[Any]:
        options.setdefault("app", app)
        signature = CallerSignature(self, args, kwargs, *more, **options)
        self.check(signature)
        return signature

    subtask = signature

    def map(self, it: Iterable[Any]) -> Any:
        """A group with one task for each argument."""
        return group([self.s(argument) for argument in it], app=app)

    def starmap(self, it: Iterable[Any]) -> Any:
        return group([self.s(*arguments) for arguments in it], app=app)

    def chunks(self, *_args: Any, **_options: Any) -> NoReturn:
        raise InvalidAsk(
            f"{self.called} has no chunks, as engines batch by themselves: {self.called}.map([...])"
        )

    def AsyncResult(self, task_id: str, **options: Any) -> Result[Any]:  # noqa: N802 - its name
        result: Result[Any] = app.AsyncResult(
            task_id, backend=app.backend, task_name=str(self.name), **options
        )
        return result

    def check(self, signature: Signature[Any]) -> None:
        """Raises InvalidAsk for a signature that cannot be sent."""
        check_options(self.called, signature.options)

    def arguments(self, args: Any, kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments as a tuple and a dict. Raises InvalidAsk for other types."""
        if isinstance(args, (str, bytes)) or not isinstance(args or (), Iterable):
            raise InvalidAsk(
                f"{self.called}.apply_async takes a list of arguments: "
                f"{self.called}.apply_async([{args!r:.100}])"
            )
        if not isinstance(kwargs or {}, Mapping):
            raise InvalidAsk(f"{self.called}.apply_async takes a dict of keyword arguments")
        return tuple(args or ()), dict(kwargs or {})

    def send(
        self,
        queue: Queue,
        *,
        task_id: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any],
        summary: Mapping[str, Any],
        options: Mapping[str, Any],
        what: str,
        check: str,
        **more: Any,
    ) -> Result[Any]:
        """Publish. `options` are Celery's, and checked before; `what` and `check` as in `sending`.

        Raises what `publish` and `sending` raise.
        """
        from colm.tasks.broker.publish import publish

        if app.conf.task_always_eager:
            raise InvalidAsk(
                f"{self.called} cannot be eager: it needs a site. Leave task_always_eager out of "
                "the settings of CoLM's app; 'colm up' with scripted engines is a site for tests"
            )
        producer = _ours(options)
        with sending(what, check, producer):
            result: Result[Any] = publish(
                app,
                str(self.name),
                queue,
                task_id=task_id,
                args=tuple(args),
                kwargs=kwargs,
                summary=summary,
                declare=True,
                retry_policy=RETRY_POLICY,
                result_cls=self.AsyncResult,
                task_type=self,
                producer=producer,
                # A parent of another app would look for our result in its own backend.
                add_to_parent=False,
                **{name: value for name, value in options.items() if name in PASSED_OPTIONS},
                **more,
            )
        return result


class CallerSignature(Signature[Any]):
    """Signature of a CallerTask: alone, in a group, or the last of a chain."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self["subtask_type"] = "colm"

    @classmethod
    def from_dict(cls, d: dict[str, Any], app: Any = None) -> CallerSignature:
        return cls(d, app=app)

    @property
    def type(self) -> Any:
        """The task of CoLM's app, also when a worker of another app sends it in a chain."""
        return app.tasks[self["task"]]

    def freeze(  # type: ignore[override]  # the stubs name every option
        self, _id: str | None = None, **place: Any
    ) -> Any:
        """Raises InvalidAsk if another task follows, before anything is sent.

        Celery's arguments show the position: only `root_id` for a step that another follows,
        `chord` for a member of a chord, `group_id` and `root_id` for a chord's body.
        """
        called = str(self["task"]).removeprefix("colm.")
        if set(place) == {"root_id"} or place.get("chord"):
            raise InvalidAsk(
                f"nothing can follow {called}, in a chain or a chord: get() its result, then send "
                "the next task"
            )
        if set(place) == {"group_id", "root_id"} and not self.immutable:
            raise InvalidAsk(
                f"{called} takes no list of results, which a chord passes on: make it "
                f"immutable ({called}.si), or get() the results and ask then"
            )
        return super().freeze(_id, **place)


Signature.register_type("colm")(CallerSignature)


def check_options(called: str, options: Mapping[str, Any]) -> None:
    """Raises InvalidAsk, with the reasons, for options that CoLM does not support."""
    refused = [
        name
        for name, value in options.items()
        if value and name not in CELERY_OPTIONS - set(_WHY) and (name, value) not in ACCEPTED_VALUES
    ]
    if refused:
        reasons = dict.fromkeys(_WHY.get(name, "Celery has no such option") for name in refused)
        raise InvalidAsk(f"{called} takes no {', '.join(sorted(refused))}: {'; '.join(reasons)}")
    in_a_caller = app.current_worker_task is None
    if in_a_caller and options.get("group_id") and options.get("producer") and not _ours(options):
        raise InvalidAsk(
            f"{called} cannot be in a group with tasks of another app, which has another result "
            "backend: make a group for each"
        )


def _ours(options: Mapping[str, Any]) -> Producer | None:
    """The producer that a group shares among its members, if it is from our app's pool."""
    producer: Producer | None = options.get("producer")
    pool = getattr(getattr(producer, "connection", None), "_pool", None)
    return producer if pool is not None and pool is app.pool else None
