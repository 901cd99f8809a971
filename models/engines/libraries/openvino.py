"""The OpenVINO engine: GenAI's continuous batching on the CPU, an optional extra.

It runs a folder that OpenVINO's tools made, or a transformers folder, which is converted once into
a folder beside it. Log-probabilities are those of the distribution drawn from, temperature and
top_p applied; how much of a prompt was found in the cache is not told, so nothing of it is counted.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy
import openvino
import openvino_genai
from transformers import AutoConfig, AutoTokenizer, GenerationConfig

from colm.models.engine_settings import EngineSettings
from colm.models.engines.base import EngineInfo
from colm.models.engines.libraries.base import LibraryEngine, Slots, StepEvents
from colm.models.engines.libraries.openvino_export import MODEL, export
from colm.models.engines.native.precision import cpu_dtype, processor_has_bfloat16
from colm.models.engines.native.sampler import SampledToken
from colm.models.engines.native.sequence import SequenceState
from colm.models.engines.native.tokenizer import ChatTokenizer
from colm.models.engines.native.weights import (
    context_length,
    end_tokens,
    explained,
    load,
    stop_strings,
)
from colm.models.errors import EngineError, ModelUnusable

#: Tokens of a page: what GenAI's CPU plugin uses.
PAGE = 32
STEP_TOKENS = 512
_PRECISION = {"bfloat16": "bf16", "float32": "f32"}
_DTYPE = {"bf16": "bfloat16", "f32": "float32"}


class OpenVINOEngine(LibraryEngine):
    """Generates with OpenVINO GenAI in this process. Raises ModelUnusable, saying what to do."""

    def __init__(self, settings: EngineSettings, *, model_path: str | None = None) -> None:
        precision = _precision(settings)
        folder = prepared_folder(settings, model_path=model_path)
        with explained(str(folder)):
            trust: Any = {"trust_remote_code": settings.trust_remote_code}
            plain = AutoTokenizer.from_pretrained(folder, **trust)
            config = GenerationConfig.from_pretrained(folder)
            most = context_length(AutoConfig.from_pretrained(folder, **trust))
        tokenizer = ChatTokenizer(plain)
        ends = end_tokens(config, plain)
        context = min(most, settings.max_model_len or most, settings.kv_cache_tokens)
        info = EngineInfo(
            engine="openvino",
            model=settings.model,
            dtype=_DTYPE[precision],
            device="cpu",
            context_length=context,
            capacity=settings.max_num_seqs,
        )
        library = Pipeline(
            folder, settings, precision, ends, lambda rows: self._tickets.count_step(rows)
        )
        stops = stop_strings(config)
        super().__init__(tokenizer, library, info=info, context=context, ends=ends, stops=stops)
        self._start()


def prepared_folder(settings: EngineSettings, *, model_path: str | None = None) -> Path:
    """The folder of the OpenVINO model; made at the first call, which takes a while."""
    source = Path(model_path or settings.model)
    if (source / MODEL).is_file():
        return source
    if not source.exists():
        raise ModelUnusable(f"there is no folder {source}: the openvino engine knows no hub")
    exact = settings.dtype == "float32"
    folder = source.with_name(f"{source.name}-openvino{'-float32' if exact else ''}")
    if not folder.is_dir():
        whole = settings.model_copy(update={"dtype": "float32", "device": "cpu"})
        export(load(whole, model_path=str(source)), folder, half=not exact)
    return folder


def _precision(settings: EngineSettings) -> str:
    dtype = cpu_dtype(settings.dtype)
    if settings.device not in ("auto", "cpu") or dtype not in _PRECISION:
        raise ModelUnusable(
            f"the openvino engine runs on the CPU in bfloat16 or float32, not on"
            f" {settings.device!r} in {settings.dtype!r}"
        )
    if dtype == "bfloat16" and not processor_has_bfloat16():
        raise ModelUnusable(
            "this processor has no instructions for bfloat16, which OpenVINO then refuses:"
            " set dtype = 'auto' or 'float32'"
        )
    return _PRECISION[dtype]


class Pipeline:
    """GenAI's pipeline; a step of it is taken whenever somebody waits for news."""

    def __init__(
        self,
        folder: Path,
        settings: EngineSettings,
        precision: str,
        ends: frozenset[int],
        count_step: Callable[[int], None],
    ) -> None:
        pages = max(1, settings.kv_cache_tokens // PAGE)
        self.room = Slots(rows=settings.max_num_seqs, pages=pages, page=PAGE)
        self._ends = ends
        self._count_step = count_step
        self._numbers = count()
        self._handles: dict[SequenceState, Any] = {}
        # Its own choice for the cache would be 8 bits.
        options: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": precision,
            "KV_CACHE_PRECISION": precision,
        }
        if settings.threads is not None:
            options["INFERENCE_NUM_THREADS"] = settings.threads
        try:
            self._pipeline = openvino_genai.ContinuousBatchingPipeline(
                str(folder), _scheduling(settings, pages), "CPU", options
            )
        except RuntimeError as error:
            raise ModelUnusable(f"OpenVINO cannot run {folder}: {error}") from error

    def add(self, generation: SequenceState) -> None:
        tokens = openvino.Tensor(numpy.array([generation.prompt], dtype=numpy.int64))
        try:
            handle = self._pipeline.add_request(
                next(self._numbers), tokens, self._sampling(generation)
            )
        except RuntimeError as error:
            raise EngineError(f"OpenVINO refuses the request: {error}") from error
        self._handles[generation] = handle

    def drop(self, generation: SequenceState) -> None:
        handle = self._handles.pop(generation, None)
        if handle is not None:
            handle.cancel()

    def news(self, seconds: float) -> Iterator[StepEvents]:  # noqa: ARG002 - a step takes what it takes
        rows = len(self._handles)
        self._pipeline.step()
        self._count_step(rows)
        for generation, handle in list(self._handles.items()):
            generation.batch_size = max(generation.batch_size, rows)
            yield self._read(generation, handle)

    def close(self) -> None:
        for generation in list(self._handles):
            self.drop(generation)
        del self._pipeline

    def _read(self, generation: SequenceState, handle: Any) -> StepEvents:
        drawn: list[SampledToken] = []
        while handle.can_read():
            for output in handle.read().values():
                pairs = zip(output.generated_ids, output.generated_log_probs, strict=True)
                drawn += [SampledToken(token=token, logprob=logprob) for token, logprob in pairs]
        if drawn and not generation.drawn:
            generation.first_token = time.monotonic()
        status = handle.get_status().name
        if status != "RUNNING":
            del self._handles[generation]
        error = "there is no room for it in the KV cache" if status == "IGNORED" else None
        return StepEvents(generation=generation, drawn=drawn, gone=status != "RUNNING", error=error)

    def _sampling(self, generation: SequenceState) -> Any:
        sampling = generation.ticket.request.sampling
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens = sampling.max_new_tokens
        config.logprobs = 1
        config.ignore_eos = not self._ends
        if self._ends:
            config.set_eos_token_id(min(self._ends))
            config.stop_token_ids = set(self._ends)
        if not generation.dice.greedy:
            config.do_sample = True
            config.temperature = sampling.temperature
            config.top_p = sampling.top_p
            seed = random.getrandbits(32) if sampling.seed is None else sampling.seed
            config.rng_seed = seed
        return config


def _scheduling(settings: EngineSettings, pages: int) -> Any:
    config = openvino_genai.SchedulerConfig()
    config.num_kv_blocks = pages + settings.prefix_cache_tokens // PAGE + settings.max_num_seqs
    config.cache_size = 0  # gigabytes: decided by the blocks
    config.max_num_seqs = settings.max_num_seqs
    config.max_num_batched_tokens = max(STEP_TOKENS, settings.max_num_seqs)
    config.dynamic_split_fuse = True
    config.enable_prefix_caching = settings.prefix_cache_tokens > 0
    return config
