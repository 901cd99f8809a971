"""kombu's redis transport with an atomic receive: a SIGKILL of a consumer loses no message.

kombu pops a message (BRPOP) and records it as unacked with a second command: a process killed in
between loses it. Here one Lua script does both. A script cannot block, so a consumer blocks on a
bell: a list of at most one token beside each queue, pushed with every message. A consumer polls the
queue whose bell rang. A lost token loses no message: consumers poll all queues every second, and
the script pushes the token again while messages remain.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import Empty
from typing import Any

from kombu.exceptions import OperationalError
from kombu.transport import redis, virtual
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads

#: Keys: the hash of unacked messages, the sorted set of their delivery times, then the bell and the
#: priority lists of each queue. Arguments: the number of priority lists, the time, and for each
#: queue "1" if its messages are acked. Returns the index of the queue and the message, or nil.
TAKE = """
local lists = tonumber(ARGV[1])
local queues = (#KEYS - 2) / (lists + 1)
local function bell(queue) return 2 + (queue - 1) * (lists + 1) + 1 end

local function take()
  for list = 1, lists do
    for queue = 1, queues do
      local payload = redis.call('RPOP', KEYS[bell(queue) + list])
      if payload then
        if ARGV[2 + queue] == '1' then
          local sent = cjson.decode(payload).properties
          local info = sent.delivery_info
          local place = cjson.encode(info.exchange) .. ',' .. cjson.encode(info.routing_key)
          redis.call('HSET', KEYS[1], sent.delivery_tag, '[' .. payload .. ',' .. place .. ']')
          redis.call('ZADD', KEYS[2], ARGV[2], sent.delivery_tag)
        end
        return {queue, payload}
      end
    end
  end
end

local taken = take()
for queue = 1, queues do
  local waiting = 0
  for list = 1, lists do waiting = waiting + redis.call('LLEN', KEYS[bell(queue) + list]) end
  if waiting > 0 and redis.call('LLEN', KEYS[bell(queue)]) == 0 then
    redis.call('LPUSH', KEYS[bell(queue)], '1')
  end
end
return taken
"""

#: How often a consumer polls all of its queues (seconds).
POLL_ALL_S = 1.0

#: The stubs leave out what is used here.
_Channel: Any = redis.Channel
_Transport: Any = redis.Transport
_QoS: Any = redis.QoS


class QoS(_QoS):  # type: ignore[misc]  # see above
    """Records a message as unacked, unless `TAKE` has."""

    #: Delivery tag of a message that `TAKE` has recorded.
    recorded: str | None = None

    def append(self, message: Any, delivery_tag: str) -> None:
        if delivery_tag == self.recorded:
            self.recorded = None
            virtual.QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)


class Channel(_Channel):  # type: ignore[misc]  # see above
    """Receives a message and records it as unacked atomically."""

    QoS = QoS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._acked: set[str] = set()
        self._polled: list[str] = []
        self._polled_all_at = -POLL_ALL_S
        self._script: Any = None
        super().__init__(*args, **kwargs)

    def basic_consume(self, queue: str, no_ack: bool, *args: Any, **kwargs: Any) -> Any:
        (self._acked.discard if no_ack else self._acked.add)(queue)
        return super().basic_consume(queue, no_ack, *args, **kwargs)

    def _put(self, queue: str, message: Any, **kwargs: Any) -> None:
        with self._refusals():
            super()._put(queue, message, **kwargs)
            with self.conn_or_acquire() as client, client.pipeline() as pipe:
                _ring(pipe, queue)
                pipe.execute()

    def _queue_bind(self, *binding: Any) -> None:
        with self._refusals():
            super()._queue_bind(*binding)

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """Raise kombu's OperationalError for a refused command, as on a full disk."""
        try:
            yield
        except self.ResponseError as error:
            raise OperationalError(f"the broker refuses writes: {error}") from error

    def _do_restore_message(
        self, payload: Any, exchange: str, routing_key: str, pipe: Any, leftmost: bool = False
    ) -> None:
        super()._do_restore_message(payload, exchange, routing_key, pipe, leftmost)
        for queue in self._lookup(exchange, routing_key):
            _ring(pipe, queue)

    def _brpop_start(self, timeout: float | None = None) -> None:
        """Block on the bells of the next queues in the cycle."""
        queues = self._queue_cycle.consume(len(self.active_queues))
        if not queues:
            return
        self._polled = list(queues)
        self._in_poll = self.client.connection
        self._brpop_sent_at = time.monotonic()
        wait = self.brpop_timeout if timeout is None else timeout
        self.client.connection.send_command("BRPOP", *map(_bell, queues), wait or 0)

    def _brpop_read(self, **options: Any) -> bool:
        """Receive a message after a bell or a timeout. Raises Empty if there is none."""
        try:
            rung = self.client.parse_response(self.client.connection, "BRPOP", **options)
        except self.connection_errors:
            self.client.connection.disconnect()
            raise
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()
        taken = None if self._closing else self._take(self._queues_to_poll(rung))
        if taken is None:
            raise Empty
        queue, payload = taken
        self._queue_cycle.rotate(queue)
        message = loads(payload)
        if queue in self._acked:
            self.qos.recorded = message["properties"]["delivery_tag"]
        self.connection._deliver(message, queue)
        return True

    def _queues_to_poll(self, rung: Sequence[Any] | None) -> Sequence[str]:
        """The queue of the bell that rang; all after a timeout or POLL_ALL_S."""
        now = time.monotonic()
        if rung is None or now - self._polled_all_at >= POLL_ALL_S:
            self._polled_all_at = now
            return self._polled
        bell = bytes_to_str(rung[0])
        return [queue for queue in self._polled if _bell(queue) == bell]

    def _take(self, queues: Sequence[str]) -> tuple[str, str] | None:
        lists = [
            [_bell(queue), *(self._q_for_pri(queue, step) for step in self.priority_steps)]
            for queue in queues
        ]
        keys = [self.unacked_key, self.unacked_index_key, *(key for keys in lists for key in keys)]
        acked = ["1" if queue in self._acked else "0" for queue in queues]
        if self._script is None:
            self._script = self.client.register_script(TAKE)
        with self.conn_or_acquire() as client:
            taken = self._script(
                keys, [len(self.priority_steps), time.time(), *acked], client=client
            )
        if taken is None:
            return None
        index, payload = taken
        return queues[int(index) - 1], bytes_to_str(payload)


class Transport(_Transport):  # type: ignore[misc]  # see above
    """Registered by `colm.tasks.celery_config` for the embedded broker."""

    Channel = Channel


def _bell(queue: str) -> str:
    return f"bell.{queue}"


def _ring(pipe: Any, queue: str) -> None:
    pipe.lpush(_bell(queue), "1")
    pipe.ltrim(_bell(queue), 0, 0)
