"""Any OpenAI-compatible endpoint as an engine: vLLM, SGLang, llama.cpp, Ollama, or a hosted one.

The endpoint does the batching. This side keeps at most `max_num_seqs` requests in flight, tries
again what may succeed later, leaves out what the endpoint does not take, and gives up when the
request's deadline passes. The key is sent in the Authorization header and appears nowhere else.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Literal

import httpx
from pydantic import ValidationError

from colm.models.backoff import Backoff
from colm.models.engine_settings import EngineSettings
from colm.models.engines.base import (
    EngineInfo,
    EngineStats,
    GenerationRequest,
    cannot_score,
    why_no_text,
)
from colm.models.engines.openai.connections import Connections, access_to, endpoint
from colm.models.engines.openai.reply import Reply, read_body, read_reply
from colm.models.engines.openai.request import Dialect, adapted, payload
from colm.models.engines.openai.wire import Failure, Setback, failure_of, judged
from colm.models.engines.pending import PendingRequest, PendingRequests
from colm.models.errors import Cancelled, DeadlineExceeded, EndpointError, EngineError, NoText
from colm.models.messages import MAX_COMPLETION_CHARS, Completion, Sampling, explain
from colm.models.texts import is_blank
from colm.models.urls import is_secret, redact

log = logging.getLogger(__name__)

#: Seconds to reach the endpoint, where the whole attempt is allowed more.
CONNECT_TIMEOUT = 10.0
#: Pauses between attempts (seconds): the first, and the longest.
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
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
        secret_headers: Mapping[str, str] | None = None,
        rng: random.Random | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._url = endpoint(settings.base_url or "")
        self._access = access_to(settings, api_key, secret_headers or {})
        self._dialect = Dialect.of(settings)
        self._secrets = _secrets(settings, self._url, api_key, secret_headers or {})
        self._rng = rng or random.Random()
        self._pause = pause
        self._tickets = PendingRequests()
        self._in_flight = 0
        self._stop = asyncio.Event()
        self._slots = asyncio.Semaphore(settings.max_num_seqs)
        self._connections = Connections(self._client)
        self._ready: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(target=self._run, name="openai-engine", daemon=True)
        self._thread.start()
        self._loop = self._ready.result()

    @property
    def info(self) -> EngineInfo:
        return EngineInfo(
            engine=_name(self._dialect),
            model=self._settings.model,
            dtype="",
            device=self._url.host,
            context_length=self._settings.max_model_len,
            capacity=self._settings.max_num_seqs,
        )

    @property
    def untaken(self) -> frozenset[str]:
        """What the endpoint is not sent, by the settings or as it refused it."""
        return self._dialect.untaken

    @property
    def stats(self) -> EngineStats:
        return self._tickets.stats

    @property
    def progress_counter(self) -> int:
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

    async def _serve(self, ticket: PendingRequest) -> None:
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

    async def _complete(self, ticket: PendingRequest) -> Completion:
        started, batch_size = time.monotonic(), self._in_flight
        sampling = ticket.request.sampling
        reply, dialect = await self._ask(ticket.request)
        ended = time.monotonic()
        text, finish_reason = _ended(reply, sampling)
        unheeded = dialect.unheeded(sampling)
        try:
            return Completion(
                text=text,
                thought=reply.reasoning[:MAX_COMPLETION_CHARS],
                finish_reason=finish_reason,
                prompt_tokens=reply.prompt_tokens,
                completion_tokens=reply.completion_tokens,
                cached_tokens=reply.cached_tokens,
                queued_s=started - ticket.submitted,
                first_token_s=ended - started,
                total_s=ended - ticket.submitted,
                batch_size=batch_size,
                engine=_name(dialect, sampling),
                model=self._settings.model,
                device=self._url.host[:80],
                seed=None if "seed" in unheeded else sampling.seed,
            )
        except ValidationError as error:
            raise EndpointError(f"the reply cannot be used: {explain(error)}") from error

    async def _ask(self, request: GenerationRequest) -> tuple[Reply, Dialect]:
        """Attempts until one succeeds, one fails for good, or `retries` are used up.

        An attempt without what the endpoint did not take counts for none of them.
        """
        dialect, attempt = self._dialect, 1
        backoff = Backoff(first=FIRST_WAIT, longest=LONGEST_WAIT, jitter=0.5, rng=self._rng)
        while not isinstance(outcome := await self._attempt(request, dialect), Reply):
            if isinstance(outcome, Failure):
                if (other := adapted(dialect, outcome, request)) is not None:
                    dialect = other
                    continue
                outcome = self._final_or_not(outcome)
            if attempt > self._settings.retries:
                raise EndpointError(f"{outcome.reason} (tried {attempt} times at {self._where})")
            attempt += 1
            pause = max(backoff.next_pause(), outcome.retry_after or 0.0)
            if request.deadline is not None and time.monotonic() + pause >= request.deadline:
                raise DeadlineExceeded(
                    f"{outcome.reason}; its deadline comes before attempt {attempt}"
                )
            await self._pause(pause)
        self._learn(dialect)
        return outcome, dialect

    def _learn(self, dialect: Dialect) -> None:
        """Keep what an attempt that succeeded went without."""
        if more := dialect.untaken - self._dialect.untaken:
            self._dialect = self._dialect.without(more)
            log.warning(
                "%s does not take %s: it is asked without from now on",
                self._url.host,
                ", ".join(sorted(more)),
            )

    def _final_or_not(self, failure: Failure) -> Setback:
        found = judged(failure, self._hide)
        if isinstance(found, EngineError):
            raise found
        return found

    async def _attempt(
        self, request: GenerationRequest, dialect: Dialect
    ) -> Reply | Failure | Setback:
        """One POST. `timeout` bounds it as a whole: httpx's own bounds only each silence."""
        seconds = self._settings.timeout
        body = payload(self._settings.model, request, dialect)
        try:
            async with asyncio.timeout(seconds), self._connections.one() as client:
                response = await self._post(client, body)
        except (TimeoutError, httpx.TimeoutException):
            return Setback(reason=f"no reply within {seconds:g} s")
        except httpx.TransportError as error:
            return Setback(reason=self._hide(f"no connection: {error or type(error).__name__}"))
        except httpx.DecodingError as error:
            return Setback(reason=f"the reply cannot be unpacked: {error}")
        data = read_body(response.content, response.charset_encoding)
        if response.is_success:
            return read_reply(data)
        return failure_of(response.status_code, response.headers, data, now=datetime.now(UTC))

    async def _post(self, client: httpx.AsyncClient, body: dict[str, object]) -> httpx.Response:
        """The reply; a bad status is one even where its body cannot be unpacked."""
        request = client.build_request("POST", self._url, json=body)
        response = await client.send(request, stream=True)
        try:
            await response.aread()
        except httpx.DecodingError:
            if response.is_success:
                raise
            headers = {k: v for k, v in response.headers.items() if k != "content-encoding"}
            return httpx.Response(response.status_code, headers=headers)
        finally:
            await response.aclose()
        return response

    @property
    def _where(self) -> str:
        proxy = self._access["proxy"]
        return f"{self._url.host}, by way of the proxy {redact(proxy)}" if proxy else self._url.host

    def _client(self) -> httpx.AsyncClient:
        connect = min(self._settings.timeout, CONNECT_TIMEOUT)
        return httpx.AsyncClient(
            **self._access,
            timeout=httpx.Timeout(self._settings.timeout, connect=connect),
            limits=httpx.Limits(max_connections=1),
        )

    def _hide(self, text: str) -> str:
        """Some endpoints echo the key that they refuse."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def _ended(reply: Reply, sampling: Sampling) -> tuple[str, Literal["stop", "length"]]:
    """The text up to the first stop, which not every endpoint heeds; NoText where there is none."""
    ends = [end for stop in sampling.stop if (end := reply.text.find(stop)) >= 0]
    text = reply.text[: min(ends)] if ends else reply.text
    finish_reason = "stop" if ends else reply.finish_reason
    if is_blank(text):
        why = why_no_text(reply.completion_tokens, finish_reason, reasoned=bool(reply.reasoning))
        told = f" (finish_reason {reply.ended!r})" if reply.ended else ""
        raise NoText(f"the endpoint gave no text: {why}{told}")
    if len(text) > MAX_COMPLETION_CHARS:
        raise EndpointError(f"the endpoint's text has {len(text)} characters")
    return text, finish_reason


def _name(dialect: Dialect, sampling: Sampling | None = None) -> str:
    """The engine as it is recorded: with what the endpoint was not sent of what was asked for."""
    unheeded = dialect.unheeded(sampling)
    return f"openai (without {', '.join(unheeded)})" if unheeded else "openai"


def _secrets(
    settings: EngineSettings, url: httpx.URL, key: str | None, headers: Mapping[str, str]
) -> list[str]:
    """What no error may show, the longest first: one can be a part of another."""
    proxy = httpx.URL(settings.proxy or "").password
    asked = {value for name, value in url.params.multi_items() if is_secret(name)}
    found = {*headers.values(), *asked, key or "", url.password, proxy}
    return sorted({text.strip() for text in found} - {""}, key=len, reverse=True)
