"""Ordering an evaluation: `colm.evaluate` records a run and ends; an evaluator works on it.

No message is held while models work: a night of questions would outlive every broker's patience.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

from celery import Task
from celery.result import AsyncResult

from colm.tasks import dependencies
from colm.tasks.broker.retry import retry_transient
from colm.tasks.celery_app import app
from colm.tasks.celery_canvas import CallersTask, check_options
from colm.tasks.rejection import refuse

if TYPE_CHECKING:  # a caller imports this module too, and must stay light
    from colm.tasks.config.run_config import RunConfig

logger = logging.getLogger(__name__)

#: Records a run: its id, its configuration, the time, and why this site cannot do it, if so.
Orders = Callable[[str, dict[str, Any], datetime, str | None], object]


class _Installed:
    orders: Orders | None = None


def install_orders(orders: Orders) -> None:
    """Say how this process records runs; a coordinator does at its start."""
    _Installed.orders = orders


class RunResult(AsyncResult[Any]):
    """The result of a run, which is not cancelled like a query."""

    def revoke(self, *_args: Any, **_options: Any) -> NoReturn:
        from colm.models.errors import InvalidAsk

        raise InvalidAsk(f"a run is cancelled from the command line: colm run cancel {self.id}")


class EvaluateTask(CallersTask):
    """A configuration is checked in the caller's process, before anything is sent."""

    def apply_async(  # type: ignore[override]  # the stubs name every option
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        task_id: str | None = None,
        **options: Any,
    ) -> AsyncResult[Any]:
        """Check and publish; the id of the result is the run's.

        Raises InvalidAsk and what `publish` raises.
        """
        from colm.tasks.broker.publish import topology
        from colm.tasks.config.run_config import read_config

        check_options(self.called, options)
        given, named = self.arguments(args, kwargs)
        config, name = _bind(*given, **named)
        found = read_config(config)
        run = name or task_id or run_name(found.name, datetime.now(UTC), uuid.uuid4().hex)
        _check_name(run)
        return self.send(
            topology().ask(),
            task_id=run,
            kwargs={"config": found.model_dump(mode="json")},
            shown={"run": run, "entries": len(found.entries), "seeds": len(found.seeds)},
            options=options,
            what=f"run {run}",
            check=f"'colm run show {run}' tells",
        )

    def AsyncResult(self, task_id: str, **options: Any) -> RunResult:  # noqa: N802 - Celery's name
        return RunResult(task_id, app=app, backend=app.backend, **options)


def run_name(name: str, now: datetime, chance: str) -> str:
    """A run's id where the caller gives none: what it is, when it was ordered, and `chance`."""
    return f"{name[:40]}-{now:%Y%m%d-%H%M%S}-{chance[:4]}"


@app.task(bind=True, base=EvaluateTask, name="colm.evaluate")
def evaluate(
    self: Task[..., Any],
    *args: Any,
    **fields: Any,
) -> dict[str, str]:
    """Order an evaluation; the id of the AsyncResult is the run's, for `colm run show RUN`.

    evaluate.delay("night.toml")     evaluate.delay({"data": ..., "entries": [...]}, name="night")

    docs/evaluation.md has every key.
    """
    from colm.models.errors import InvalidAsk, TransientError, plainly
    from colm.tasks.config.run_config import read_config

    run = str(self.request.id)
    try:
        config, _ = _bind(*args, **fields)
        _check_name(run)
        found = read_config(config)
        retry_transient(lambda: order(run, found))
    except InvalidAsk as error:
        refuse(self, str(error), {"args": args, **fields})
    except (TransientError, dependencies.NotInstalled):
        raise  # enough of it has been waited for: the letter waits on
    except Exception as error:
        logger.exception("run %s cannot be recorded", run)
        refuse(self, f"the coordinator failed: {plainly(error)}", {"args": args, **fields})
    return {"run": run}


def order(run: str, config: RunConfig) -> None:
    """Record the run, at once as failed where this site has not the participants that it names."""
    if _Installed.orders is None:
        raise dependencies.NotInstalled(dependencies.NotInstalled.__doc__)
    now = datetime.now(UTC)
    _Installed.orders(run, config.model_dump(mode="json"), now, problem_of(config, now))


def problem_of(config: RunConfig, now: datetime) -> str | None:
    """Why this site cannot ask what the run would ask; None if it can."""
    from colm.models.errors import InvalidAsk
    from colm.models.roster import make_request, resolve

    for entry in config.entries:
        try:
            asked = asked_by(config, entry.name)
            if entry.wants_visible_tests:
                asked["tests"] = "pass"  # each example's own; all else is checked as it is
            request = make_request("Is this possible?", asked)
            resolve(request, dependencies.coordinator().roster, "a-query-to-check", now)
        except InvalidAsk as error:
            return f"entry {entry.name!r}: {error}"
    return None


def asked_by(config: RunConfig, entry_name: str) -> dict[str, Any]:
    """The options of `ask` for an entry: its own before the run's, without what neither says."""
    entry = next(entry for entry in config.entries if entry.name == entry_name)
    asked: dict[str, Any] = {"strategy": entry.strategy, **entry.options}
    for name in ("clients", "server", "max_new_tokens", "temperature"):
        own = getattr(entry, name)
        asked[name] = own if own is not None else getattr(config, name)
    asked["deadline"] = config.deadline
    return {name: value for name, value in asked.items() if value is not None}


def _bind(config: Any = None, name: str | None = None, **unknown: Any) -> tuple[Any, str | None]:
    from colm.models.errors import InvalidAsk

    if unknown or config is None:
        raise InvalidAsk("evaluate takes a configuration, which is a dict or a file, and a name")
    return config, name


def _check_name(run: str) -> None:
    """Raises InvalidAsk for an id that cannot name a run."""
    from pydantic import TypeAdapter, ValidationError

    from colm.models.errors import InvalidAsk
    from colm.models.messages import RunId, explain

    try:
        TypeAdapter(RunId).validate_python(run)
    except ValidationError as error:
        raise InvalidAsk(f"{run!r} cannot name a run: {explain(error)}") from error
