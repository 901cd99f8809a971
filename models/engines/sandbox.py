"""An engine without a model: it runs code with its tests, so that checks travel as steps do.

Each request's last turn is a `colm.models.sandbox.protocol.CheckRequest`, each completion's text a
`colm.models.sandbox.protocol.CheckReport`. Nothing is drawn and no token counted.
"""

from __future__ import annotations

import platform
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from colm.models.engine_settings import EngineSettings
from colm.models.engines.base import EngineInfo, EngineStats, GenerationRequest, cannot_score
from colm.models.engines.pending import PendingRequest, PendingRequests
from colm.models.errors import BadMessage, Cancelled, EngineError, SandboxUnusable
from colm.models.messages import Completion
from colm.models.sandbox.protocol import CheckReport, read_request
from colm.models.sandbox.runner import Limits, Verdict, protections, run


class SandboxEngine:
    """Runs at most `max_num_seqs` programs at once, each within `run_seconds` of processor time
    and `run_megabytes`.

    A request that is cancelled while its program runs is settled at once; the program ends by its
    own limits. Raises SandboxUnusable where this machine cannot confine code.
    """

    def __init__(self, settings: EngineSettings) -> None:
        found = protections()
        if not found.passed:
            raise SandboxUnusable(f"the sandbox cannot run Python: {found.reason}")
        self._settings = settings
        self._tickets = PendingRequests()
        self._pool = ThreadPoolExecutor(settings.max_num_seqs, thread_name_prefix="sandbox")
        self._info = EngineInfo(
            engine="sandbox",
            model=f"python-{platform.python_version()}",
            dtype="",
            device=", ".join(found.protections)[:80],
            context_length=None,
            capacity=settings.max_num_seqs,
        )

    @property
    def info(self) -> EngineInfo:
        return self._info

    @property
    def stats(self) -> EngineStats:
        return self._tickets.stats

    @property
    def progress_counter(self) -> int:
        """Time: every program has a limit of its own."""
        return time.monotonic_ns()

    def submit(self, request: GenerationRequest) -> Future[Completion]:
        ticket = self._tickets.open(request)
        if request.choices:
            self._tickets.fail(ticket, cannot_score(self._info))
        elif not ticket.settled:
            self._pool.submit(self._serve, ticket)
        return ticket.future

    def cancel(self, request_id: str) -> bool:
        return self._tickets.cancel(request_id)

    def close(self) -> None:
        self._tickets.close(Cancelled("the engine is closed"))
        self._pool.shutdown(cancel_futures=True)

    def _serve(self, ticket: PendingRequest) -> None:
        started = time.monotonic()
        if ticket.settled:
            return
        if ticket.overdue(started):
            self._tickets.expire(ticket)
            return
        try:
            completion = self._check(ticket, started)
        except (BadMessage, EngineError) as error:
            reason = error if isinstance(error, EngineError) else EngineError(str(error))
            self._tickets.fail(ticket, reason)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not leave a caller waiting
            self._tickets.fail(ticket, EngineError(f"the engine failed: {error!r}"))
        else:
            self._settle(ticket, completion)

    def _settle(self, ticket: PendingRequest, completion: Completion | None) -> None:
        if completion is None:
            self._tickets.expire(ticket)
        else:
            self._tickets.count_step(1)
            self._tickets.finish(ticket, completion, opened=None)

    def _check(self, ticket: PendingRequest, started: float) -> Completion | None:
        """None: the step's deadline ended the program, which says nothing about the program."""
        asked = read_request(ticket.request.messages[-1].content)
        limits = Limits.of(self._settings.run_seconds, self._settings.run_megabytes * 2**20)
        deadline, whole = ticket.request.deadline, limits.seconds
        if deadline is not None:
            limits = replace(limits, seconds=min(whole, deadline - started))
        verdict = run(asked.code, asked.tests, limits=limits)
        if verdict.status == "timeout" and verdict.seconds >= limits.seconds < whole:
            return None
        return self._completion(ticket, verdict, started)

    def _completion(self, ticket: PendingRequest, verdict: Verdict, started: float) -> Completion:
        report = CheckReport(
            passed=verdict.passed,
            status=verdict.status,
            reason=verdict.reason,
            seconds=verdict.seconds,
            kept=verdict.protections,
        )
        return Completion(
            text=report.model_dump_json(),
            finish_reason="stop",
            prompt_tokens=0,
            completion_tokens=0,
            queued_s=started - ticket.submitted,
            total_s=time.monotonic() - ticket.submitted,
            engine=self._info.engine,
            model=self._info.model,
            device=self._info.device,
            seed=ticket.request.sampling.seed,
        )
