"""The paged engine: the batch is run by transformers' own continuous batching manager.

It pages the KV cache, prefills in pieces, shares prefixes by whole pages and, on CUDA, replays
graphs. What it does not do, or does at everybody's cost, is done here: sampling by each request's
own rules (`paged_drawing`), stop strings, deadlines, cancelling, and refusing what would end its
loop.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import torch
from transformers import GenerationConfig
from transformers.generation.configuration_utils import ContinuousBatchingConfig
from transformers.generation.continuous_batching import ContinuousBatchingManager
from transformers.generation.continuous_batching.requests import GenerationOutput

from colm.models.engine_settings import EngineSettings
from colm.models.engines.base import EngineInfo
from colm.models.engines.libraries.base import LibraryEngine, Slots, StepEvents
from colm.models.engines.libraries.paged_sampler import Drawing, Seat
from colm.models.engines.native.decoding import DeviceLost
from colm.models.engines.native.sampler import SampledToken
from colm.models.engines.native.sequence import SequenceState
from colm.models.engines.native.tokenizer import ChatTokenizer
from colm.models.engines.native.weights import LoadedModel
from colm.models.errors import EngineError, ModelUnusable

#: Tokens of a page, and tokens computed in one step. A GPU's kernels want large pages.
PAGE = {"cpu": 32, "cuda": 256}
STEP_TOKENS = {"cpu": 512, "cuda": 2048}
#: Seconds that the manager may take to stop.
STOP_WITHIN = 20.0
#: Tokens by which a model is tried out.
_CHECKED = 4


class PagedEngine(LibraryEngine):
    """Generates with a transformers model in this process, batched by transformers.

    The model is changed to attend over pages: do not call `generate` on it any more.
    """

    def __init__(self, loaded: LoadedModel, settings: EngineSettings) -> None:
        context = min(loaded.context_length, settings.kv_cache_tokens)
        info = EngineInfo(
            engine="paged",
            model=loaded.name,
            dtype=loaded.dtype,
            device=loaded.device_name,
            context_length=context,
            capacity=settings.max_num_seqs,
        )
        library = Manager(loaded, settings, lambda rows: self._tickets.count_step(rows))
        super().__init__(
            ChatTokenizer(loaded.tokenizer),
            library,
            info=info,
            context=context,
            ends=loaded.ends,
            stops=loaded.stops,
        )
        self._start()


class Manager:
    """One manager, for the life of the process; another only if its loop has ended by a fault."""

    def __init__(
        self, loaded: LoadedModel, settings: EngineSettings, count_step: Callable[[int], None]
    ) -> None:
        kind = loaded.device.type
        page = PAGE.get(kind, PAGE["cuda"])
        pages = max(1, settings.kv_cache_tokens // page)
        self.room = Slots(rows=settings.max_num_seqs, pages=pages, page=page)
        self._model: Any = loaded.model
        self._name = loaded.name
        self._ends = sorted(loaded.ends) or -1
        self._settings = ContinuousBatchingConfig(
            page_size=page,
            # Pages that finished requests leave are kept until they are needed.
            num_blocks=pages + settings.prefix_cache_tokens // page + settings.max_num_seqs,
            max_batch_tokens=max(STEP_TOKENS.get(kind, STEP_TOKENS["cuda"]), settings.max_num_seqs),
            max_requests_per_batch=settings.max_num_seqs,
            allow_block_sharing=settings.prefix_cache_tokens > 0,
            return_logprobs=True,
        )
        self._seats: dict[str, Seat] = {}
        self._ids: dict[SequenceState, str] = {}
        self._numbers = count()
        self._count_step = count_step
        self._manager: ContinuousBatchingManager
        try:
            expected = self._reference()
            self._begin()
            self._check(expected)
        except (RuntimeError, ValueError, TypeError, AttributeError, NotImplementedError) as error:
            raise ModelUnusable(
                f"{self._name} cannot be run by transformers' continuous batching: {error}."
                " Set kind = 'transformers', or serve it with an OpenAI-compatible server (vLLM,"
                " llama.cpp, Ollama) and set kind = 'openai'"
            ) from error

    def add(self, generation: SequenceState) -> None:
        sampling = generation.ticket.request.sampling
        # Never an id twice: of two requests with one id the manager loses one.
        name = f"{next(self._numbers)}"
        self._ids[generation] = name
        self._seats[name] = Seat(generation=generation)
        request_id = self._manager.add_request(
            generation.prompt,
            request_id=name,
            max_new_tokens=sampling.max_new_tokens,
            # Token by token only where we look for ends of our own: it costs a copy a token.
            streaming=bool(generation.stops or generation.turn_ends),
            record_timestamps=True,
            eos_token_id=self._ends,
        )
        if request_id is None:
            self._forget(generation)
            raise EngineError("the manager takes no more requests")

    def drop(self, generation: SequenceState) -> None:
        if (name := self._forget(generation)) is not None:
            self._manager.cancel_request(name)

    def news(self, seconds: float) -> Iterator[StepEvents]:
        output = self._next(seconds)
        while output is not None:
            seat = self._seats.get(output.request_id)
            if seat is not None:
                yield self._read(seat, output)
            output = self._next(0.0)
        self._mend()

    def close(self) -> None:
        self._seats.clear()
        self._ids.clear()
        self._manager.stop(block=True, timeout=STOP_WITHIN, hard_stop=True)
        del self._manager, self._model

    def _reference(self) -> list[list[int]]:
        """Completions of two short prompts by the unchanged model."""
        return [self._said_alone(prompt) for prompt in self._prompts()]

    def _said_alone(self, prompt: list[int]) -> list[int]:
        tokens = list(prompt)
        with torch.inference_mode():
            for _ in range(_CHECKED):
                inputs = torch.tensor([tokens], device=self._model.device)
                tokens.append(int(self._model(inputs, use_cache=False).logits[0, -1].argmax()))
        return tokens[len(prompt) :]

    def _prompts(self) -> tuple[list[int], list[int]]:
        vocabulary = self._model.config.get_text_config(decoder=True).vocab_size
        tokens = [(7 * position + 11) % vocabulary for position in range(14)]
        return tokens[:5], tokens[5:]

    def _check(self, expected: list[list[int]]) -> None:
        """The manager must run the model; in float32, to the same tokens."""
        for number, prompt in enumerate(self._prompts()):
            self._manager.add_request(
                prompt, request_id=f"check{number}", max_new_tokens=_CHECKED, eos_token_id=-1
            )
        outputs = [self._next(STOP_WITHIN) for _ in expected]
        tokens_of = {o.request_id: o.generated_tokens for o in outputs if o and not o.error}
        trouble = next((o.error for o in outputs if o and o.error), None)
        if len(tokens_of) < len(expected):
            trouble = trouble or "it gives no answer"
        elif (
            self._model.dtype == torch.float32
            and [tokens_of[n] for n in sorted(tokens_of)] != expected
        ):
            trouble = "it gives other tokens than the model alone"
        if trouble is not None:
            self._manager.stop(block=True, timeout=STOP_WITHIN, hard_stop=True)
            raise RuntimeError(trouble)

    def _begin(self) -> None:
        manager = self._model.init_continuous_batching(
            generation_config=GenerationConfig(  # type: ignore[no-untyped-call] # untyped
                do_sample=False, eos_token_id=self._ends
            ),
            continuous_batching_config=self._settings,
        )
        manager.logit_processor = Drawing(self._seats, self._count_step)
        # A thread is a daemon if its maker is. The manager's must be: else Python waits for it at
        # exit, before it calls anything that could stop it.
        maker = threading.Thread(target=manager.start, daemon=True)
        maker.start()
        maker.join()
        self._manager = manager

    def _next(self, seconds: float) -> GenerationOutput | None:
        try:
            # Not get_result: it does not see what a loop that has ended left in its queue.
            waits = seconds > 0
            output: GenerationOutput = self._manager.output_router.output_queue.get(
                waits, seconds or None
            )
        except queue.Empty:
            return None
        return output

    def _read(self, seat: Seat, output: GenerationOutput) -> StepEvents:
        generation, gone = seat.generation, output.is_finished()
        have = len(generation.drawn)
        tokens, logprobs = output.generated_tokens[have:], output.logprobs[have:]
        if not generation.drawn:
            skew = time.monotonic() - time.perf_counter()
            generation.first_token = (output.timestamps or [time.perf_counter()])[0] + skew
            generation.cached = max(0, len(generation.prompt) - seat.computed)
        if gone:
            self._forget(generation)
        return StepEvents(
            generation=generation,
            drawn=[
                SampledToken(token=token, logprob=logprob)
                for token, logprob in zip(tokens, logprobs, strict=True)
            ],
            gone=gone,
            error=output.error,
        )

    def _forget(self, generation: SequenceState) -> str | None:
        name = self._ids.pop(generation, None)
        if name is not None:
            del self._seats[name]
        return name

    def _mend(self) -> None:
        """A loop that has ended by a fault has failed its requests; the next need another loop."""
        error = self._manager.background_thread_status.fatal_error
        if error is None:
            return
        if isinstance(error, torch.AcceleratorError):
            raise DeviceLost(str(error)) from error
        for generation in list(self._ids):
            self._forget(generation)
        self._manager.stop(block=True, timeout=STOP_WITHIN, hard_stop=True)
        self._begin()
        raise RuntimeError(f"transformers' batching loop ended: {error}") from error
