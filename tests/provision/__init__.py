"""Private, throw-away PostgreSQL and RabbitMQ servers, for tests and benchmarks.

Each server runs out of a temporary folder on ports of its own, beside whatever this machine runs
already, and ends with the process that started it, even when that process is killed.
"""

from tests.provision.databases import Databases
from tests.provision.faults import ServiceBroken, ServiceMissing
from tests.provision.lending import Lender, Lent, lent
from tests.provision.postgres import PostgresServer
from tests.provision.rabbitmq import RabbitMQServer
from tests.provision.turns import Turns
from tests.provision.vhosts import VirtualHosts

__all__ = [
    "Databases",
    "Lender",
    "Lent",
    "PostgresServer",
    "RabbitMQServer",
    "ServiceBroken",
    "ServiceMissing",
    "Turns",
    "VirtualHosts",
    "lent",
]
