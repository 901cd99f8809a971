"""`colm client` and `colm server`: a Celery worker with one engine for its participants."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kombu import Queue
from pydantic import ValidationError

from colm.models.engine_settings import EngineSettings
from colm.models.errors import SettingsError
from colm.models.messages import Role
from colm.models.naming import join_names, list_names
from colm.models.roster import nearest
from colm.tasks import dependencies
from colm.tasks.broker.capabilities import broker
from colm.tasks.broker.topology import topology_of
from colm.tasks.celery_app import app
from colm.tasks.config.settings import ParticipantSettings, settings
from colm.workers import engine_loader
from colm.workers.consumer.worker import serve, worker_name
from colm.workers.participant.cancellations import StepCancellationConsumer
from colm.workers.participant.generator import EngineGenerator, end_process
from colm.workers.participant.watchdog import Watchdog
from colm.workers.process_log import log_to_stderr
from colm.workers.rabbitmq.permission_probe import probe_permissions, waited_for

#: Connections for publishing; docs/how-to/secure-a-site.md counts them.
PUBLISHING = 1


def run_clients(names: Sequence[str], threads: int | None) -> int:
    """Serve the clients `names`, which must have the same engine settings."""
    log_to_stderr()
    table = settings().clients
    engine = _shared_engine(table, names, "client", threads)
    adapters = _adapters(table, names)
    queues = [q for name in names for q in topology_of(settings()).of_client(name)]
    # A client reaches the broker and nothing else.
    remote_control = not broker().permissions  # which a client's user does not have
    app.conf.update(result_backend="disabled://", worker_enable_remote_control=remote_control)
    return _run("client", names, engine, adapters, queues)


def run_servers(names: Sequence[str], threads: int | None, *, device: str | None = None) -> int:
    """Serve the server pools `names`, or all, with one engine, on `device` if not None."""
    log_to_stderr()
    table = settings().servers
    names = names or tuple(table)
    engine = _shared_engine(table, names, "server", threads)
    adapters = _adapters(table, names)
    queues = [q for name in names for q in topology_of(settings()).of_server(name)]
    app.conf.update(result_backend="disabled://")
    if device is None:
        return _run("server", names, engine, adapters, queues)
    engine = _on_device(engine, device)
    # The suffix distinguishes the processes of one host in Flower.
    return _run("server", names, engine, adapters, queues, suffix=f"-{device.replace(':', '')}")


def _run(
    role: Role,
    names: Sequence[str],
    engine_settings: EngineSettings,
    adapters: Mapping[str, str],
    queues: Sequence[Queue],
    *,
    suffix: str = "",
) -> int:
    app.conf.broker_pool_limit = PUBLISHING
    rights = probe_permissions(queues)
    engine = engine_loader.load_engine(engine_settings, adapters.values())
    worker = worker_name(join_names([role, *names]) + suffix)
    generator = EngineGenerator(engine, names, role, worker=worker, adapters=adapters)
    dependencies.install_generator(generator)
    stops = StepCancellationConsumer(
        app.connection_for_read(), topology_of(settings()), names, generator.stop,
        streams=broker().streams, declare=rights.declare,
    )  # fmt: skip
    _open_to_publish()
    stops.start()
    watchdog = Watchdog(
        lambda: engine.progress_counter,
        generator.waiting_since,
        settings().limits.engine_stall_timeout,
        end_process,
    )
    watchdog.start()
    try:
        return serve(worker, queues, engine.info.capacity, events=rights.events)
    finally:
        watchdog.close()
        stops.close()
        engine.close()


def _open_to_publish() -> None:
    """Open the connection for submissions before any step is consumed.

    If a connection limit prevents it, no step is generated that could not be submitted.
    """

    def work() -> None:
        with app.producer_or_acquire() as producer:
            producer.connection.ensure_connection(max_retries=1, interval_start=0)

    if broker().permissions:
        waited_for(settings(), work)


def _on_device(engine: EngineSettings, device: str) -> EngineSettings:
    try:
        return EngineSettings.model_validate(engine.model_dump() | {"device": device})
    except ValidationError as error:
        raise SettingsError(f"--device {device!r} is none of auto, cpu, cuda, cuda:N") from error


def _shared_engine(
    table: Mapping[str, ParticipantSettings], names: Sequence[str], role: Role, threads: int | None
) -> EngineSettings:
    for name in names:
        if name not in table:
            raise SettingsError(f"no [{role}s.{name}] is configured{nearest(name, table)}")
    engines = {table[name].engine for name in names}
    if len(engines) > 1:
        engines = {engine.shared for engine in engines}
    if len(engines) > 1:
        raise SettingsError(
            f"{list_names(names)} are configured with different engines; start one process for each"
        )
    engine = engines.pop()
    return engine.model_copy(update={"threads": engine.threads or threads})


def _adapters(table: Mapping[str, ParticipantSettings], names: Iterable[str]) -> dict[str, str]:
    """The adapter of each participant that has one."""
    engines = {name: table[name].engine for name in names}
    return {name: engine.adapter for name, engine in engines.items() if engine.adapter is not None}
