"""How much of each lane one process takes from the broker at once.

Overnight steps have a queue of their own, and a process reads it beside the others. It takes at
most its overnight share of them, which leaves a place in the batch free for interactive work. Its
pool has a thread for each step that it may hold, so that no interactive step waits for a thread
behind overnight ones; which of the steps in hand runs next is decided by the engine's line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from celery.worker import state
from celery.worker.consumer.tasks import Tasks

OVERNIGHT = "overnight."


def overnight_share(capacity: int) -> int:
    """How many overnight steps may run at once where `capacity` steps may."""
    return max(1, capacity - 1)


@dataclass(frozen=True, kw_only=True)
class Lanes:
    """What a process with these queues and an engine of this capacity takes at once."""

    capacity: int
    queues: tuple[str, ...]

    @property
    def overnight(self) -> frozenset[str]:
        return frozenset(name for name in self.queues if is_overnight(name))

    @property
    def threads(self) -> int:
        """One for every step that may be generated or wait for its turn to be."""
        return self.capacity + self.overnight_held

    @property
    def overnight_held(self) -> int:
        """Overnight steps that are held at once, out of all the overnight queues."""
        return len(self.overnight) * self._of_each_overnight

    def prefetch(self, queue: str) -> int:
        """Messages of `queue` that are held unacked."""
        return self._of_each_overnight if is_overnight(queue) else self.capacity

    @property
    def _of_each_overnight(self) -> int:
        return max(1, overnight_share(self.capacity) // max(1, len(self.overnight)))


def is_overnight(queue: str) -> bool:
    return queue.startswith(f"colm.{OVERNIGHT}")


def lanes_of(queues: Sequence[str], capacity: int) -> Lanes:
    return Lanes(capacity=capacity, queues=tuple(queues))


class LanedTasks(Tasks):
    """Celery's step that begins to consume, with a prefetch count for each queue.

    On RabbitMQ a prefetch count holds for the consumers that are made after it. The embedded broker
    knows one for the whole process; there an overnight queue is left out of the round while as many
    of its steps are held as may be.
    """

    def start(self, c: Any) -> None:
        super().start(c)
        lanes: Lanes | None = getattr(c.controller, "lanes", None)
        if lanes is None or not lanes.overnight:
            return
        if c.connection.transport.driver_type == "redis":
            _hold_back(c.task_consumer.channel._queue_cycle, lanes)
        else:
            _count_each(c.task_consumer, lanes)


def _count_each(consumer: Any, lanes: Lanes) -> None:
    consume = consumer._basic_consume

    def laned(queue: Any, **options: Any) -> Any:
        consumer.channel.basic_qos(0, lanes.prefetch(queue.name), False)
        return consume(queue, **options)

    consumer._basic_consume = laned


def _hold_back(cycle: Any, lanes: Lanes) -> None:
    consume = cycle.consume

    def laned(count: int) -> list[str]:
        queues: list[str] = consume(count)
        if held_overnight() < lanes.overnight_held:
            return queues
        return [queue for queue in queues if not is_overnight(queue)]

    cycle.consume = laned


def held_overnight() -> int:
    """Overnight steps that this process holds, running or not."""
    # Copied in one step: tasks end in other threads while one by one is looked at.
    reserved: Any = state.reserved_requests  # a WeakSet
    references = reserved.data.copy()
    requests = [request for reference in references if (request := reference()) is not None]
    held = [request.delivery_info.get("routing_key") for request in requests]
    return sum(str(key).startswith(OVERNIGHT) for key in held)
