"""Parts that a worker process installs at its start, for the task bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

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
