"""The parts that a worker process installs once at its start, for the task bodies to use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # a caller imports this module too, and must stay light
    from colm.models.messages import Attempt, Step, Submission
    from colm.tasks.interfaces import Coordinator, QueryStore


class Generator(Protocol):
    """Does a step with this process's engine. Never raises for the step's own failure."""

    def generate(self, step: Step, *, redelivered: bool) -> Submission | Attempt:
        """A completion, or the reason that there is none; blocks until then.

        An Attempt where the step was delivered again and may have killed its worker.
        """

    def serves(self, step: Step) -> bool:
        """Whether this process answers for the step's participant."""


class NotInstalled(RuntimeError):
    """A task ran in a process that was not started for it; use `colm coordinator|server|client`."""


class _Runtime:
    coordinator: Coordinator | None = None
    record: QueryStore | None = None
    generator: Generator | None = None


_runtime = _Runtime()


def install_coordinator(coordinator: Coordinator, record: QueryStore) -> None:
    _runtime.coordinator, _runtime.record = coordinator, record


def install_generator(generator: Generator) -> None:
    _runtime.generator = generator


def coordinator() -> Coordinator:
    if _runtime.coordinator is None:
        raise NotInstalled(NotInstalled.__doc__)
    return _runtime.coordinator


def has_record() -> bool:
    """Whether this process is a coordinator."""
    return _runtime.record is not None


def record() -> QueryStore:
    if _runtime.record is None:
        raise NotInstalled(NotInstalled.__doc__)
    return _runtime.record


def generator() -> Generator:
    if _runtime.generator is None:
        raise NotInstalled(NotInstalled.__doc__)
    return _runtime.generator
