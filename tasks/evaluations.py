"""The Celery task `colm.evaluate`: it records a run, and an evaluator process executes it.

The task returns at once: a run lasts longer than any consumer timeout.
"""

from __future__ import annotations

import logging
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

from celery import Task
from celery.result import AsyncResult

from colm.tasks import dependencies
from colm.tasks.broker.retry import retry_transient
from colm.tasks.celery_app import app
from colm.tasks.celery_canvas import CallerTask, check_options
from colm.tasks.rejection import refuse

if TYPE_CHECKING:  # keeps a caller's import light
    from colm.tasks.config.run_config import RunConfig

logger = logging.getLogger(__name__)


class RunResult(AsyncResult[Any]):
    """Result of a run. It is cancelled from the command line only."""

    def revoke(self, *_args: Any, **_options: Any) -> NoReturn:
        from colm.models.errors import InvalidAsk

        raise InvalidAsk(f"a run is cancelled from the command line: colm run cancel {self.id}")


class EvaluateTask(CallerTask):
    """Validates a configuration in the caller's process, before anything is sent."""

    def apply_async(  # type: ignore[override]  # the stubs name every option
        self, args: Any = None, kwargs: Any = None, task_id: str | None = None, **options: Any
    ) -> AsyncResult[Any]:
        """Validate and publish; the id of the result is the run's.

        Raises InvalidAsk and what `publish` raises.
        """
        from colm.tasks.broker.publish import topology
        from colm.tasks.config.run_config import read_config

        check_options(self.called, options)
        positional, named = self.arguments(args, kwargs)
        source, name = _bind(*positional, **named)
        config = read_config(source)
        run = name or task_id or run_name(config.name, datetime.now(UTC), uuid.uuid4().hex)
        _check_name(run)
        return self.send(
            topology().ask(),
            task_id=run,
            kwargs={"config": config.model_dump(mode="json")},
            summary={"run": run, "entries": len(config.entries), "seeds": len(config.seeds)},
            options=options,
            what=f"run {run}",
            check=f"'colm run show {run}' tells",
        )

    def AsyncResult(self, task_id: str, **options: Any) -> RunResult:  # noqa: N802 - Celery's name
        return RunResult(task_id, app=app, backend=app.backend, **options)


def run_name(name: str, now: datetime, chance: str) -> str:
    """Default id of a run: the evaluation's name, the time, and the first digits of `chance`."""
    return f"{name[:40]}-{now:%Y%m%d-%H%M%S}-{chance[:4]}"


@app.task(bind=True, base=EvaluateTask, name="colm.evaluate")
def evaluate(self: Task[..., Any], *args: Any, **fields: Any) -> dict[str, str]:
    """Order an evaluation; the id of the AsyncResult is the run's, for `colm run show RUN`.

    evaluate.delay("night.toml")     evaluate.delay({"data": ..., "entries": [...]}, name="night")

    docs/how-to/evaluate.md has every key.
    """
    from colm.models.errors import InvalidAsk, TransientError, plainly
    from colm.tasks.config.run_config import read_config

    run = str(self.request.id)
    try:
        source, _ = _bind(*args, **fields)
        _check_name(run)
        config = read_config(source)
        retry_transient(lambda: order(run, config))
    except InvalidAsk as error:
        refuse(self, str(error), {"args": args, **fields})
    except (TransientError, dependencies.NotInstalled):
        raise  # retried long enough: the message is dead-lettered
    except Exception as error:
        logger.exception("run %s cannot be recorded", run)
        refuse(self, f"the coordinator failed: {plainly(error)}", {"args": args, **fields})
    return {"run": run}


def order(run: str, config: RunConfig) -> None:
    """Record the run; as failed if this site cannot ask its questions."""
    now = datetime.now(UTC)
    record = dependencies.run_recorder()
    record(run, config.model_dump(mode="json"), now, unsupported_reason(config, now))


def unsupported_reason(config: RunConfig, now: datetime) -> str | None:
    """Why this site cannot ask the run's questions; None if it can."""
    from colm.models.errors import InvalidAsk
    from colm.models.roster import make_request, resolve

    for entry in config.entries:
        try:
            options = ask_options(config, entry.name)
            if entry.wants_visible_tests:
                options["tests"] = "pass"  # stands for each example's own tests
            request = make_request("Is this possible?", options)
            resolve(request, dependencies.coordinator().roster, "a-query-to-check", now)
        except InvalidAsk as error:
            return f"entry {entry.name!r}: {error}"
    return None


def ask_options(config: RunConfig, entry_name: str) -> dict[str, Any]:
    """The options of `ask` for an entry; the run's where the entry has none."""
    entry = next(entry for entry in config.entries if entry.name == entry_name)
    options: dict[str, Any] = {"strategy": entry.strategy, **entry.options}
    for name in ("clients", "server", "max_new_tokens", "temperature"):
        own = getattr(entry, name)
        options[name] = own if own is not None else getattr(config, name)
    options["deadline"] = config.deadline
    return {name: value for name, value in options.items() if value is not None}


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
