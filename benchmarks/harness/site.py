"""The site under test: real services and worker processes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pika
import psycopg2

from colm.tasks.config.settings import Settings, settings
from colm.workers.local_stack.stack import Stack
from tests.provision import PostgresServer, RabbitMQServer
from tests.provision.postgres import plain

#: Concurrent tasks of the coordinator and of each participant's process.
THREADS = 16


@contextmanager
def running_site(
    *, clients: int, broker: str | None = None, database: str | None = None, grouped: bool = False
) -> Iterator[Stack]:
    """A coordinator, a server and `clients` clients.

    Each client is its own process, as if on its own machine, unless `grouped`.
    """
    with running(site_file(clients, grouped=grouped), broker=broker, database=database) as stack:
        yield stack


@contextmanager
def running(
    site: str, *, broker: str | None = None, database: str | None = None
) -> Iterator[Stack]:
    """The site of a colm.toml's text.

    Services given by URL are used and written to; others are private and durable. The settings of
    this process change to the site's, so call it before the first ask.
    """
    with ExitStack() as stacked:
        folder = Path(stacked.enter_context(tempfile.TemporaryDirectory(prefix="colm-benchmark-")))
        (folder / "colm.toml").write_text(site)
        broker = broker or stacked.enter_context(RabbitMQServer(management=False)).url
        database = database or stacked.enter_context(PostgresServer(durable=True)).url
        _configure(
            COLM_CONFIG=str(folder / "colm.toml"),
            COLM_HOME=str(folder / "home"),
            COLM_BROKER=broker,
            COLM_DATABASE=database,
        )
        stack = stacked.enter_context(Stack(settings=settings(), tell=print))
        stack.wait_until_ready(timeout=60)
        yield stack


def site_file(clients: int, *, grouped: bool) -> str:
    """The colm.toml of a site whose engines answer at once."""
    # Participants with equal engines share a process: another model name separates them.
    models = ["scripted" if grouped else f"scripted-{n}" for n in range(1, clients + 1)]
    tables = [f"[clients.c{n}]\n{_engine(model)}" for n, model in enumerate(models, start=1)]
    return "\n".join(
        [f"coordinator_threads = {THREADS}", *tables, f"[servers.main]\n{_engine('scripted')}\n"]
    )


def _engine(model: str) -> str:
    return f'engine = {{ kind = "scripted", model = "{model}", max_num_seqs = {THREADS} }}'


def _configure(**variables: str) -> None:
    """Makes `variables` the only COLM_* variables, here and in child processes."""
    for name in [name for name in os.environ if name.startswith("COLM_")]:
        del os.environ[name]
    os.environ.update(variables)
    settings.cache_clear()


def processor_seconds(stack: Stack) -> float:
    """CPU time of the site's own processes so far, without broker and database."""
    pids = [child.process.pid for child in stack.children if child.process is not None]
    return sum(map(processor_seconds_of, pids))


def processor_seconds_of(pid: int) -> float:
    """CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])  # utime and stime, as proc(5) counts from field 3
    return ticks / os.sysconf("SC_CLK_TCK")


def service_versions(config: Settings) -> dict[str, str]:
    """Versions of RabbitMQ and PostgreSQL, and whether commits reach the disk."""
    with (
        closing(psycopg2.connect(plain(config.database_url))) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT name, setting FROM pg_settings")
        variables = dict(cursor.fetchall())
    return {
        "rabbitmq": _rabbitmq_version(config.broker_url),
        "postgresql": variables["server_version"],
        "fsync": variables["fsync"],
        "synchronous_commit": variables["synchronous_commit"],
    }


def _rabbitmq_version(url: str) -> str:
    with closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        # pika has no public access to the server properties.
        return str(connection._impl.server_properties["version"])
