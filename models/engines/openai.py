"""Any OpenAI-compatible endpoint as an engine: vLLM, SGLang, llama.cpp, Ollama, or a hosted one.

The endpoint does the batching. This side keeps at most `max_batch` requests in flight, tries again
what may succeed later, and gives up when the request's deadline passes. The key is sent in the
Authorization header and appears nowhere else.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial

import httpx
from pydantic import ValidationError

from models.engine_settings import EngineSettings
from models.engines.base import EngineInfo, EngineStats, GenerationRequest, cannot_score
from models.engines.openai_connections import Connections
from models.engines.openai_wire import (
    Reply,
    Setback,
    pause_before,
    payload,
    read_failure,
    read_reply,
)
from models.engines.tickets import Ticket, Tickets
from models.errors import Cancelled, EndpointError, EngineError, SettingsError
from models.messages import Completion

#: Seconds to reach the endpoint, where the whole attempt is allowed more.
CONNECT_TIMEOUT = 10.0
#: Seconds that `close` waits for the connections to end.
CLOSE_TIMEOUT = 5.0


class OpenAIEngine:
    """Sends each request as one chat completion; `submit` hands it to an event loop's thread.

    Token counts are the endpoint's own, and 0 where it does not say. Raises SettingsError for a
    base_url or key that cannot be used.
    """

    def __init__(
        self,
        settings: EngineSettings,
        *,
        api_key: str | None = None,
        rng: random.Random | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._url = _endpoint(settings.base_url or "")
        self._key = _checked_key(api_key)
        self._rng = rng or random.Random()
        self._pause = pause
        self._tickets = Tickets()
        self._in_flight = 0
        self._stop = asyncio.Event()
        self._slots = asyncio.Semaphore(settings.max_batch)
        secured = httpx.create_ssl_context()
        self._connections = Connections(partial(_client, settings, self._key, secured))
        self._ready: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(target=self._run, name="openai-engine", daemon=True)
        self._thread.start()
        self._loop = self._ready.result()

    @property
    def info(self) -> EngineInfo:
        return EngineInfo(
            engine="openai",
            model=self._settings.model,
            dtype="",
            device=self._url.host,
            context_length=self._settings.context_length,
            capacity=self._settings.max_batch,
        )

    @property
    def stats(self) -> EngineStats:
        return self._tickets.stats

    @property
    def pulse(self) -> int:
        """Time: every attempt has a timeout of its own, and so has a request."""
        return time.monotonic_ns()

    def submit(self, request: GenerationRequest) -> Future[Completion]:
        ticket = self._tickets.open(request)
        if request.choices:
            self._tickets.fail(ticket, cannot_score(self.info))
        elif not ticket.settled:
            job = asyncio.run_coroutine_threadsafe(self._serve(ticket), self._loop)
            # Whoever settles the ticket, `cancel` and `close` included, ends the HTTP exchange.
            ticket.future.add_done_callback(lambda _: job.cancel())
        return ticket.future

    def cancel(self, request_id: str) -> bool:
        return self._tickets.cancel(request_id)

    def close(self) -> None:
        self._tickets.close(Cancelled("the engine is closed"))
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(CLOSE_TIMEOUT)

    def _run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        async with aclosing(self._connections):
            self._ready.set_result(asyncio.get_running_loop())
            await self._stop.wait()

    async def _serve(self, ticket: Ticket) -> None:
        deadline = ticket.request.deadline
        left = None if deadline is None else deadline - time.monotonic()
        try:
            async with asyncio.timeout(left), self._slots:
                self._in_flight += 1
                try:
                    completion = await self._complete(ticket)
                finally:
                    self._in_flight -= 1
            self._tickets.finish(ticket, completion)
        except TimeoutError:
            self._tickets.expire(ticket)
        except EngineError as error:
            self._tickets.fail(ticket, error)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not leave a caller waiting
            self._tickets.fail(ticket, EngineError(f"the engine failed: {error!r}"))

    async def _complete(self, ticket: Ticket) -> Completion:
        started, batch_size = time.monotonic(), self._in_flight
        reply = await self._ask(ticket.request)
        ended = time.monotonic()
        try:
            return Completion(
                text=reply.text,
                finish_reason=reply.finish_reason,
                prompt_tokens=reply.prompt_tokens,
                completion_tokens=reply.completion_tokens,
                cached_tokens=reply.cached_tokens,
                queued_s=started - ticket.submitted,
                first_token_s=ended - started,
                total_s=ended - ticket.submitted,
                batch_size=batch_size,
                engine="openai",
                model=self._settings.model,
                device=self._url.host[:80],
                seed=ticket.request.sampling.seed,
            )
        except ValidationError as error:
            raise EndpointError(f"the endpoint's text has {len(reply.text)} characters") from error

    async def _ask(self, request: GenerationRequest) -> Reply:
        """Attempts until one succeeds, one fails for good, or `retries` are used up."""
        attempts = self._settings.retries + 1
        attempt = 1
        while isinstance(outcome := await self._attempt(request), Setback):
            if attempt >= attempts:
                raise EndpointError(f"{outcome.reason} (tried {attempt} times at {self._url.host})")
            attempt += 1
            await self._pause(pause_before(attempt, outcome, self._rng))
        return outcome

    async def _attempt(self, request: GenerationRequest) -> Reply | Setback:
        """One POST. `timeout` bounds it as a whole: httpx's own bounds only each silence."""
        seconds = self._settings.timeout
        try:
            async with asyncio.timeout(seconds), self._connections.one() as client:
                response = await client.post(self._url, json=payload(self._settings.model, request))
        except (TimeoutError, httpx.TimeoutException):
            return Setback(reason=f"no reply within {seconds:g} s")
        except httpx.TransportError as error:
            return Setback(reason=self._redact(f"no connection: {error or type(error).__name__}"))
        if response.status_code == 200:
            return read_reply(_body(response))
        failure = read_failure(
            response.status_code, response.headers, _body(response), now=datetime.now(UTC)
        )
        if isinstance(failure, Setback):
            return Setback(reason=self._redact(failure.reason), retry_after=failure.retry_after)
        raise type(failure)(self._redact(str(failure)))

    def _redact(self, text: str) -> str:
        """Some endpoints echo the key that they refuse."""
        return text.replace(self._key, "***") if self._key else text


def _endpoint(base_url: str) -> httpx.URL:
    try:
        url = httpx.URL(base_url.rstrip("/") + "/chat/completions")
    except httpx.InvalidURL:
        # Not its words: they quote a part of the URL, which may be one of a password.
        raise SettingsError("base_url cannot be read as a URL") from None
    if not url.host:
        raise SettingsError("base_url names no host")
    return url


def _client(settings: EngineSettings, key: str, secured: ssl.SSLContext) -> httpx.AsyncClient:
    connect = min(settings.timeout, CONNECT_TIMEOUT)
    return httpx.AsyncClient(
        headers={"Authorization": f"Bearer {key}"} if key else {},
        timeout=httpx.Timeout(settings.timeout, connect=connect),
        limits=httpx.Limits(max_connections=1),
        verify=secured,
    )


def _checked_key(key: str | None) -> str:
    key = (key or "").strip()
    if not (key.isascii() and key.isprintable()):
        raise SettingsError("the endpoint's key has characters that no HTTP header can carry")
    return key


def _body(response: httpx.Response) -> object:
    """The JSON of a response, or its text when it is none."""
    try:
        return response.json()
    except ValueError:
        return response.text
