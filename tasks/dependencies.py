"""Parts that a worker process installs at its start, for the task bodies."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:  # keeps a caller's import light
    from colm.models.messages import Attempt, Step, Submission
    from colm.tasks.interfaces import Coordinator, QueryStore


class Generator(Protocol):
    """Runs steps on this process's engine."""

    def generate(self, step: Step, *, redelivered: bool) -> Submission | Attempt:
        """A completion or an error; an Attempt for a redelivered step. Blocks until then.

        Raises EngineLost only.
        """

    def serves(self, step: Step) -> bool:
        """Whether the step's participant is one of this process."""


class NotInstalled(RuntimeError):
    """A task ran in a process that was not started for it; use `colm coordinator|server|client`."""


#: Records a run: its id, configuration, time, and why this site cannot execute it, if so.
RunRecorder = Callable[[str, dict[str, Any], datetime, str | None], object]
P = TypeVar("P")


class _Runtime:
    coordinator: Coordinator | None = None
    record: QueryStore | None = None
    generator: Generator | None = None
    run_recorder: RunRecorder | None = None


_runtime = _Runtime()


def install_coordinator(
    coordinator: Coordinator, record: QueryStore, run_recorder: RunRecorder | None = None
) -> None:
    _runtime.coordinator, _runtime.record = coordinator, record
    _runtime.run_recorder = run_recorder


def install_generator(generator: Generator) -> None:
    _runtime.generator = generator


def has_record() -> bool:
    """Whether this process is a coordinator."""
    return _runtime.record is not None


def coordinator() -> Coordinator:
    return _installed(_runtime.coordinator)


def record() -> QueryStore:
    return _installed(_runtime.record)


def run_recorder() -> RunRecorder:
    return _installed(_runtime.run_recorder)


def generator() -> Generator:
    return _installed(_runtime.generator)


def _installed(part: P | None) -> P:
    if part is None:
        raise NotInstalled(NotInstalled.__doc__)
    return part
