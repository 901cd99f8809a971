"""The transformers engine: continuous batching on one thread over a cache of slots.

The step loop has the model to itself. Submitting threads render and tokenize their own prompts and
hand them over; each gets a future, settled by the loop's thread as soon as its own request ends. A
future's callbacks run on that thread: keep them short.
"""

from __future__ import annotations

import atexit
import logging
import threading
from concurrent.futures import Future

import torch

from models.engine_settings import EngineSettings
from models.engines.base import EngineInfo, EngineStats, GenerationRequest
from models.engines.batch import Batch, DeviceLost
from models.engines.generation import Generation
from models.engines.kept import KeptPrefixes
from models.engines.loading import LoadedModel
from models.engines.runner import Runner
from models.engines.sampling import Dice
from models.engines.text import ChatTokenizer
from models.engines.tickets import Ticket, Tickets
from models.engines.waiting import Room
from models.errors import Cancelled, EngineError, PromptTooLong
from models.messages import Completion

log = logging.getLogger(__name__)

#: Seconds that `close` waits for the forward pass in hand.
CLOSE_TIMEOUT = 30.0


class ContinuousEngine:
    """Generates with a transformers model in this process; many requests share each forward pass.

    Sampling is what the request says: the defaults in the model's generation_config are not used.
    In float32 a greedy completion equals `model.generate()` of the prompt alone, token for token.
    Use it in the process that made it: threads do not survive a fork.
    """

    def __init__(self, loaded: LoadedModel, settings: EngineSettings) -> None:
        self._tokenizer = ChatTokenizer(loaded.tokenizer)
        self._ends = _end_tokens(loaded)
        self._tickets = Tickets()
        self._context = min(loaded.context_length, settings.max_batch_tokens)
        self._info = EngineInfo(
            engine="transformers",
            model=loaded.name,
            dtype=loaded.dtype,
            device=_device_name(loaded.device),
            context_length=self._context,
            capacity=settings.max_batch,
        )
        self._batch = Batch(
            Runner(loaded, max_tokens=settings.max_batch_tokens),
            tickets=self._tickets,
            info=self._info,
            room=Room(rows=settings.max_batch, tokens=settings.max_batch_tokens),
            kept=KeptPrefixes(settings.kept_tokens),
        )
        self._wake = threading.Condition()
        self._arrivals: list[Generation] = []
        self._closing = False
        # A daemon, with close() at exit: a thread that Python waits for would hang a worker whose
        # owner forgot to close, and one that it does not wait for dies inside a forward pass.
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        atexit.register(self.close)
        self._thread.start()

    @property
    def info(self) -> EngineInfo:
        return self._info

    @property
    def stats(self) -> EngineStats:
        return self._tickets.stats

    def submit(self, request: GenerationRequest) -> Future[Completion]:
        ticket = self._tickets.open(request)
        if ticket.settled:
            return ticket.future
        try:
            generation = self._prepared(ticket)
        except EngineError as error:
            self._tickets.fail(ticket, error)
            return ticket.future
        with self._wake:
            self._arrivals.append(generation)
            self._wake.notify()
        return ticket.future

    def cancel(self, request_id: str) -> bool:
        return self._tickets.cancel(request_id)

    def close(self) -> None:
        """Returns within CLOSE_TIMEOUT even when a forward pass hangs; all futures are settled."""
        self._tickets.close(Cancelled("the engine is closed"))
        with self._wake:
            self._closing = True
            self._wake.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join(CLOSE_TIMEOUT)
        atexit.unregister(self.close)

    def _prepared(self, ticket: Ticket) -> Generation:
        request = ticket.request
        prompt = self._tokenizer.encode(request.messages)
        wanted = request.sampling.max_new_tokens
        if len(prompt) + wanted > self._context:
            raise PromptTooLong(
                f"the prompt has {len(prompt)} tokens and asks for {wanted} more;"
                f" the context has {self._context}"
            )
        if not prompt:
            raise EngineError("the prompt has no tokens")
        return Generation(
            ticket=ticket,
            prompt=prompt,
            dice=Dice(request.sampling),
            decode=self._tokenizer.decode,
            ends=self._ends,
        )

    def _run(self) -> None:
        while (arrivals := self._next_arrivals()) is not None:
            try:
                self._batch.turn(arrivals)
            except DeviceLost as error:
                log.critical("the device is lost: %s", error)
                self._tickets.close(EngineError(f"the device is lost, restart the worker: {error}"))
                break
            except Exception as error:  # a fault of ours must not stop the loop
                log.exception("a step of the engine failed")
                self._batch.abandon(EngineError(f"the engine failed: {error!r}"))
        self._batch.release()
        del self._batch  # and with it the model

    def _next_arrivals(self) -> list[Generation] | None:
        """What came since the last turn, waiting while there is nothing to do; None at the end."""
        with self._wake:
            while not (self._closing or self._arrivals or self._batch.busy):
                self._wake.wait()
            arrivals, self._arrivals = self._arrivals, []
            return None if self._closing else arrivals


def _end_tokens(loaded: LoadedModel) -> frozenset[int]:
    """The tokens that end a turn: those of the model, and the tokenizer's own."""
    config = loaded.model.generation_config
    ends = getattr(config, "eos_token_id", None)
    found = set(ends if isinstance(ends, list) else [ends]) | {loaded.tokenizer.eos_token_id}
    return frozenset(token for token in found if isinstance(token, int))


def _device_name(device: torch.device) -> str:
    if device.type != "cuda":
        return str(device)
    return f"{device} {torch.cuda.get_device_name(device)}"[:80]
