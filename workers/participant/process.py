"""`colm client` and `colm server`: one engine, one Celery worker, the queues of its names."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence

from kombu import Queue
from pydantic import ValidationError

from colm.models.engine_settings import EngineSettings
from colm.models.engines.base import Engine
from colm.models.errors import SettingsError
from colm.models.messages import Role
from colm.models.naming import join_names, list_names
from colm.models.roster import nearest
from colm.tasks import dependencies
from colm.tasks.broker.capabilities import broker
from colm.tasks.broker.topology import topology_of
from colm.tasks.celery_app import app
from colm.tasks.config.settings import ParticipantSettings, prepare_for_torch, secret, settings
from colm.workers.consumer.worker import log_to_stderr, serve, worker_name
from colm.workers.participant.cancellations import StepCancellationConsumer
from colm.workers.participant.generator import EngineGenerator, end_process
from colm.workers.participant.watchdog import Watchdog
from colm.workers.rabbitmq.permission_probe import probe_permissions, waited_for

logger = logging.getLogger(__name__)

#: Connections that a participant publishes through; docs/how-to/secure-a-site.md counts them.
PUBLISHING = 1


def run_clients(names: Sequence[str], threads: int | None) -> int:
    """Serve the clients `names` with one engine; all must be configured with the same one."""
    log_to_stderr()
    table = settings().clients
    engine = _shared_engine(table, names, "client", threads)
    queues = [q for name in names for q in topology_of(settings()).of_client(name)]
    # A client may be anywhere: it reaches the broker and nothing else.
    remote_control = not broker().permissions  # which a client's user does not have
    app.conf.update(result_backend="disabled://", worker_enable_remote_control=remote_control)
    return _run("client", names, engine, queues)


def run_servers(names: Sequence[str], threads: int | None, *, device: str | None = None) -> int:
    """Serve the server pools `names`, or all of them, with one engine, on `device` if given."""
    log_to_stderr()
    table = settings().servers
    names = names or tuple(table)
    engine = _shared_engine(table, names, "server", threads)
    queues = [q for name in names for q in topology_of(settings()).of_server(name)]
    app.conf.update(result_backend="disabled://")
    if device is None:
        return _run("server", names, engine, queues)
    engine = _on_device(engine, device)
    # In Flower the processes of one host are told apart by their device.
    return _run("server", names, engine, queues, suffix=f"-{device.replace(':', '')}")


def _run(
    role: Role,
    names: Sequence[str],
    engine_settings: EngineSettings,
    queues: Sequence[Queue],
    *,
    suffix: str = "",
) -> int:
    app.conf.broker_pool_limit = PUBLISHING
    rights = probe_permissions(queues)
    engine = load_engine(engine_settings)
    worker = worker_name(join_names([role, *names]) + suffix)
    generator = EngineGenerator(engine, names, role, worker=worker)
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
    """Open the connection that submissions go through, before any step is taken.

    Where a limit on connections keeps it from opening, no step waits for a submission in vain.
    """

    def work() -> None:
        with app.producer_or_acquire() as producer:
            producer.connection.ensure_connection(max_retries=1, interval_start=0)

    if broker().permissions:
        waited_for(settings(), work)


def load_engine(found: EngineSettings) -> Engine:
    """The engine that `found` describes, loaded. Raises ModelUnusable or SettingsError."""
    prepare_for_torch()
    from colm.models.engines.factory import build_engine
    from colm.workers.participant.quickstart_model import QUICKSTART, quickstart_folder

    folder = None
    if found.local and found.model == QUICKSTART:
        path = quickstart_folder(settings().cache)
        # The record names the weights, not our nickname for them.
        folder, found = str(path), found.model_copy(update={"model": path.name})
    key, headers = endpoint_secrets(found)
    started = time.perf_counter()
    engine = build_engine(found, model_path=folder, api_key=key, secret_headers=headers)
    logger.info("%s ready in %.1f s", engine.info, time.perf_counter() - started)
    return engine


def endpoint_secrets(found: EngineSettings) -> tuple[str | None, dict[str, str]]:
    """An endpoint's key and its secret headers. Raises SettingsError for a variable not set."""
    key = secret(found.api_key_env) if found.api_key_env else None
    return key, {name: secret(variable) for name, variable in found.extra_headers_env.items()}


def _on_device(engine: EngineSettings, device: str) -> EngineSettings:
    try:
        return EngineSettings.model_validate(engine.model_dump() | {"device": device})
    except ValidationError as error:
        raise SettingsError(f"--device {device!r} is none of auto, cpu, cuda, cuda:N") from error


def _shared_engine(
    table: Mapping[str, ParticipantSettings],
    names: Sequence[str],
    role: Role,
    threads: int | None,
) -> EngineSettings:
    for name in names:
        if name not in table:
            raise SettingsError(f"no [{role}s.{name}] is configured{nearest(name, table)}")
    engines = {table[name].engine for name in names}
    if len(engines) > 1:
        raise SettingsError(
            f"{list_names(names)} are configured with different engines; start one process for each"
        )
    engine = engines.pop()
    return engine.model_copy(update={"threads": engine.threads or threads})
