"""Exchanges, queues and bindings, and their names.

    exchange       key                    queue                           read by
    colm.ask       ask                    colm.ask                        coordinators
    colm.ask       control                colm.control                    coordinators
    colm.steps     draft.<client>         colm.draft.<client>             that client
    colm.guidance  refine.<client>        colm.refine.<client>            that client
    colm.steps     synthesize.<server>    colm.synthesize.<server>        the workers of that server
    colm.steps     overnight.<name>       colm.overnight.<name>           that client or server
    colm.steps     cancel.<name>          colm.step-cancellations.<name>  each of its processes
    colm.drafts    draft.<client>,        colm.submissions                coordinators
                   guidance.<server>
    colm.dead      #                      colm.dead                       coordinators
    -              -                      colm.parked                     an operator: `colm dead`

Unroutable messages go to colm.dead, the alternate exchange. The routing key of a submission is its
sender's identity: on RabbitMQ a topic permission restricts a client to its own. All are quorum
queues that refuse publishes when full and dead-letter rejected and too often redelivered messages;
colm.step-cancellations.* are streams. The embedded broker ignores those arguments.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kombu import Exchange, Queue
from kombu.transport.base import StdChannel

from colm.models.messages import Role, Step
from colm.tasks.config.settings import BrokerLimits, Settings

ASK = "colm.ask"
STEPS = "colm.steps"
GUIDANCE = "colm.guidance"
DRAFTS = "colm.drafts"
DEAD = "colm.dead"
PARKED = "colm.parked"
SUBMISSIONS = "colm.submissions"
CONTROL = "colm.control"
STEP_CANCELLATIONS = "colm.step-cancellations"

EXCHANGES = {
    name: Exchange(
        name,
        type="topic",
        durable=True,
        delivery_mode="persistent",
        arguments={} if name == DEAD else {"alternate-exchange": DEAD},
    )
    for name in (ASK, STEPS, GUIDANCE, DRAFTS, DEAD)
}

#: Size limit of colm.parked (bytes). The record holds every letter, truncated or whole.
PARKED_BYTES = 256 * 2**20
#: Segment size of a stream (bytes). A stream drops whole segments; cancellations are small.
CANCELLATIONS_SEGMENT = 500_000
#: Each read of a letter counts as a delivery; RabbitMQ 4 drops a message after 20 by default.
UNBOUNDED_DELIVERIES = 1_000_000

#: For a broker without streams: every process receives every cancellation.
CANCELLATIONS_FANOUT = Exchange(STEP_CANCELLATIONS, type="fanout", durable=False)


@dataclass(frozen=True, kw_only=True)
class Topology:
    """The queues of a site. Redeclaring one with other arguments is refused (406)."""

    limits: BrokerLimits
    clients: tuple[str, ...]
    servers: tuple[str, ...]

    def ask(self) -> Queue:
        return self._work(ASK, ASK, "ask")

    def control(self) -> Queue:
        """Cancellations, which must not wait behind questions; read by a thread of its own."""
        return self._work(CONTROL, ASK, "control")

    def submissions(self) -> Queue:
        return self._work(SUBMISSIONS, DRAFTS, "#")

    def draft(self, client: str) -> Queue:
        return self._work(f"colm.draft.{client}", STEPS, f"draft.{client}")

    def refine(self, client: str) -> Queue:
        return self._work(f"colm.refine.{client}", GUIDANCE, f"refine.{client}")

    def synthesize(self, server: str) -> Queue:
        return self._work(f"colm.synthesize.{server}", STEPS, f"synthesize.{server}")

    def overnight(self, participant: str) -> Queue:
        """Steps of low-priority queries, in a queue of their own so that they delay no others."""
        return self._work(f"colm.overnight.{participant}", STEPS, f"overnight.{participant}")

    def step_cancellations(self, participant: str) -> Queue:
        """A stream: every process of the participant reads all of it, without declaring."""
        return Queue(
            f"{STEP_CANCELLATIONS}.{participant}",
            EXCHANGES[STEPS],
            routing_key=f"cancel.{participant}",
            durable=True,
            queue_arguments={
                "x-queue-type": "stream",
                "x-max-age": "1h",
                "x-stream-max-segment-size-bytes": CANCELLATIONS_SEGMENT,
            },
        )

    def all_step_cancellations(self) -> tuple[Queue, ...]:
        return tuple(self.step_cancellations(name) for name in (*self.servers, *self.clients))

    def dead(self) -> Queue:
        """Dead letters that no coordinator has settled."""
        return Queue(
            DEAD,
            EXCHANGES[DEAD],
            routing_key="#",
            durable=True,
            queue_arguments={
                "x-queue-type": "quorum",
                "x-delivery-limit": UNBOUNDED_DELIVERIES,
                "x-max-length": self.limits.queue_length,
                "x-overflow": "reject-publish",
            },
        )

    def parked(self) -> Queue:
        """Settled and recorded dead letters, for an operator to replay or drop."""
        return Queue(
            PARKED,
            Exchange(""),
            routing_key=PARKED,
            durable=True,
            queue_arguments={
                "x-queue-type": "quorum",
                "x-delivery-limit": UNBOUNDED_DELIVERIES,
                "x-max-length": self.limits.parked_letters,
                "x-max-length-bytes": PARKED_BYTES,
                "x-overflow": "drop-head",
            },
        )

    def queue_for(self, exchange: str, key: str) -> Queue | None:
        """The queue bound to the exchange by this key; None if there is none."""
        for queue in self.everything():
            if queue.exchange.name == exchange != DEAD and queue.routing_key in (key, "#"):
                return queue
        return None

    def of_coordinator(self) -> tuple[Queue, ...]:
        return self.ask(), self.submissions()

    def of_client(self, client: str) -> tuple[Queue, ...]:
        return self.draft(client), self.refine(client), self.overnight(client)

    def of_server(self, server: str) -> tuple[Queue, ...]:
        return self.synthesize(server), self.overnight(server)

    def for_step(self, step: Step) -> Queue:
        """The queue of a step."""
        if step.lane == "overnight":
            return self.overnight(step.participant)
        if step.role == "server":
            return self.synthesize(step.participant)
        name = step.participant
        return self.refine(name) if step.act == "refine" else self.draft(name)

    def everything(self) -> tuple[Queue, ...]:
        of_clients = [queue for client in self.clients for queue in self.of_client(client)]
        of_servers = [queue for server in self.servers for queue in self.of_server(server)]
        return (self.dead(), *self.of_coordinator(), *of_servers, *of_clients)

    def _work(self, name: str, exchange: str, key: str) -> Queue:
        return Queue(
            name,
            EXCHANGES[exchange],
            routing_key=key,
            durable=True,
            queue_arguments={
                "x-queue-type": "quorum",
                "x-delivery-limit": self.limits.delivery_limit,
                "x-max-length": self.limits.queue_length,
                "x-overflow": "reject-publish",
                "x-dead-letter-exchange": DEAD,
                "x-dead-letter-strategy": "at-least-once",
            },
        )


def topology_of(site: Settings) -> Topology:
    """The topology that these settings describe."""
    return Topology(limits=site.limits, clients=tuple(site.clients), servers=tuple(site.servers))


def submission_key(role: Role, name: str) -> str:
    """The routing key of a participant's submissions."""
    return f"{'draft' if role == 'client' else 'guidance'}.{name}"


def declare(channel: StdChannel, queues: Iterable[Queue]) -> None:
    """Declare exchanges, queues and bindings. Raises PreconditionFailed for other arguments."""
    for queue in queues:
        queue(channel).declare()
