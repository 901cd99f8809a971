"""`colm client` and `colm server`: one engine, one Celery worker, the queues of its names."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Any

from kombu import Queue
from pydantic import ValidationError

from models.engine_settings import EngineSettings
from models.engines.base import Engine, GenerationRequest
from models.errors import EngineError, EngineLost, SettingsError
from models.messages import (
    MAX_COMPLETION_CHARS,
    MAX_REASON_CHARS,
    Completion,
    Role,
    Step,
    StepError,
    StepKey,
    Submission,
)
from models.roster import nearest
from tasks import runtime
from tasks.celery_app import app
from tasks.settings import ParticipantSettings, prepare_for_torch, secret, settings
from tasks.topology import topology_of
from workers.celery_worker import log_to_stderr, serve, worker_name
from workers.rights import settle

logger = logging.getLogger(__name__)

#: Submissions kept for steps that are delivered again after they were done.
KEPT_SUBMISSIONS = 512
#: An engine keeps deadlines itself; this much later it is taken to hang (seconds).
HANG_GRACE = 30.0
#: The exit status of a process whose engine is gone (sysexits.h).
EX_SOFTWARE = 70


class EngineGenerator:
    """Does steps with one engine, for the participants it is named for. Safe on many threads.

    A step that is delivered again, because a connection broke before its ack, is not generated
    again: it joins the generation under way, or repeats the submission made before.
    """

    def __init__(
        self,
        engine: Engine,
        names: Sequence[str],
        role: Role,
        *,
        worker: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
        end_process: Callable[[], None] = lambda: os._exit(EX_SOFTWARE),
    ) -> None:
        self._engine = engine
        self._names = frozenset(names)
        self._role = role
        self._worker = worker
        self._clock = clock
        self._monotonic = monotonic
        self._end_process = end_process
        self._lock = threading.Lock()
        self._running: dict[str, Future[Completion]] = {}
        self._done: OrderedDict[str, Submission] = OrderedDict()

    def serves(self, step: Step) -> bool:
        return step.role == self._role and step.participant in self._names

    def generate(self, step: Step) -> Submission:
        left = (step.deadline_at - self._clock()).total_seconds()
        with self._lock:
            if step.step_id in self._done:
                return self._done[step.step_id]
            if left <= 0:
                return self._failed(
                    step, "DeadlineExceeded", f"reached {self._worker} {-left:.1f} s too late"
                )
            future = self._running.get(step.step_id)
            if future is None:
                logger.info("step %s taken, %.0f s left for it", step.step_id, left)
                future = self._engine.submit(self._request(step, left))
                self._running[step.step_id] = future
        try:
            submission = self._await(step, future, left)
        except Exception:
            with self._lock:
                self._running.pop(step.step_id, None)
            raise
        with self._lock:
            self._running.pop(step.step_id, None)
            self._done[step.step_id] = submission
            while len(self._done) > KEPT_SUBMISSIONS:
                self._done.popitem(last=False)
        return submission

    def _request(self, step: Step, left: float) -> GenerationRequest:
        return GenerationRequest(
            request_id=step.step_id,
            messages=step.messages,
            sampling=step.sampling,
            deadline=self._monotonic() + left,
            lane=step.lane,
            choices=step.choices,
            conversation=f"{step.query_id}.{step.participant}",
        )

    def _await(self, step: Step, future: Future[Completion], left: float) -> Submission:
        try:
            completion = future.result(timeout=left + HANG_GRACE)
        except EngineLost as error:
            # Submitting failures would empty the queue that healthy workers share. Nothing is
            # acked: the broker delivers the steps again, to them or to this worker's successor.
            logger.critical("ending this process: %s", error)
            self._end_process()
            raise
        except EngineError as error:
            return self._failed(step, type(error).__name__, str(error))
        except TimeoutError:
            self._engine.cancel(step.step_id)
            return self._failed(
                step, "EngineHangs", f"no completion {HANG_GRACE:.0f} s after the deadline"
            )
        if len(completion.text) > MAX_COMPLETION_CHARS:
            return self._failed(
                step, "CompletionTooLong", f"{len(completion.text)} characters were generated"
            )
        return Submission(**_key(step), worker=self._worker, completion=completion)

    def _failed(self, step: Step, kind: str, reason: str) -> Submission:
        logger.warning("step %s failed: %s: %s", step.step_id, kind, reason)
        error = StepError(kind=kind, reason=reason[:MAX_REASON_CHARS])
        return Submission(**_key(step), worker=self._worker, error=error)


def _key(step: Step) -> dict[str, Any]:
    return step.model_dump(include=set(StepKey.model_fields))


def run_clients(names: Sequence[str], threads: int | None) -> int:
    """Serve the clients `names` with one engine; all must be configured with the same one."""
    log_to_stderr()
    table = settings().clients
    engine = _shared_engine(table, names, "client", threads)
    queues = [q for name in names for q in topology_of(settings()).of_client(name)]
    # A client may be anywhere: it reaches the broker and nothing else.
    app.conf.update(result_backend="disabled://", worker_enable_remote_control=settings().embedded)
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
    rights = settle(queues)
    engine = load_engine(engine_settings)
    worker = worker_name(f"{role}-{'-'.join(names)}{suffix}")
    runtime.install_generator(EngineGenerator(engine, names, role, worker=worker))
    try:
        return serve(worker, queues, threads=engine.info.capacity, events=rights.events)
    finally:
        engine.close()


def load_engine(found: EngineSettings) -> Engine:
    """The engine that `found` describes, loaded. Raises ModelUnusable or SettingsError."""
    prepare_for_torch()
    from models.engines.build import build_engine
    from workers.quickstart import QUICKSTART, quickstart_folder

    folder = None
    if found.local and found.model == QUICKSTART:
        path = quickstart_folder(settings().cache)
        # The record names the weights, not our nickname for them.
        folder, found = str(path), found.model_copy(update={"model": path.name})
    key = secret(found.api_key_env) if found.api_key_env else None
    started = time.perf_counter()
    engine = build_engine(found, model_path=folder, api_key=key)
    logger.info("%s ready in %.1f s", engine.info, time.perf_counter() - started)
    return engine


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
            f"{', '.join(names)} are configured with different engines; start one process for each"
        )
    engine = engines.pop()
    return engine.model_copy(update={"threads": engine.threads or threads})
