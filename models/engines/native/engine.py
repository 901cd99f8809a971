"""The transformers engine: continuous batching on one thread over a cache of slots."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace

import torch

from colm.models.engine_settings import EngineSettings
from colm.models.engines.base import EngineInfo, GenerationRequest
from colm.models.engines.native.adapter_cache import AdapterCache
from colm.models.engines.native.adapter_files import AdapterReader
from colm.models.engines.native.base import LocalEngine
from colm.models.engines.native.decoding import DeviceLost
from colm.models.engines.native.image_processor import tokenizer_of
from colm.models.engines.native.lora import Adapter, merge
from colm.models.engines.native.model_runner import Runner
from colm.models.engines.native.prefix_cache import PrefixCache
from colm.models.engines.native.scheduler import Scheduler
from colm.models.engines.native.tensor_parallel import LeadingRunner
from colm.models.engines.native.torch_threads import single_intraop_pool
from colm.models.engines.native.waiting_queue import KVBudget
from colm.models.engines.native.weights import LoadedModel
from colm.models.errors import EngineError, EngineLost, ModelUnusable

log = logging.getLogger(__name__)


class ContinuousEngine(LocalEngine):
    """Generates with a transformers model in this process; many requests share each forward pass.

    Sampling is what the request says: the defaults in the model's generation_config are not used.
    In float32 a greedy completion equals `model.generate()` of the prompt alone, token for token,
    with peft's for a request with an adapter. `adapters`: folders that requests will name, to be
    checked now. Raises ModelUnusable.
    """

    scores = True

    def __init__(
        self, loaded: LoadedModel, settings: EngineSettings, *, adapters: Iterable[str] = ()
    ) -> None:
        reader = AdapterReader(loaded)
        self._adapter = settings.adapter
        self._merged = _merged(loaded, reader, settings)
        context = min(loaded.context_length, settings.kv_cache_tokens)
        info = EngineInfo(
            engine="transformers",
            model=loaded.name,
            dtype=loaded.dtype,
            device=_device(loaded, settings.tensor_parallel),
            context_length=context,
            capacity=settings.max_num_seqs,
            adapter=None if self._merged is None else self._merged.sha256,
        )
        super().__init__(
            tokenizer_of(loaded),
            info=info,
            context=context,
            ends=loaded.ends,
            stops=loaded.stops,
        )
        leads = settings.tensor_parallel > 1
        kind = LeadingRunner if leads else Runner
        with single_intraop_pool():
            self._runner = kind(loaded, max_tokens=settings.kv_cache_tokens)
        self._adapters: AdapterCache[Adapter] = AdapterCache(
            reader.read, settings.max_adapters, on_evict=self._runner.forget_adapters
        )
        if self._merged is None:
            for folder in dict.fromkeys([*adapters, *filter(None, [self._adapter])]):
                self._adapters.get(folder)
        self._batch = Scheduler(
            self._runner,
            tickets=self._tickets,
            info=info,
            room=KVBudget(rows=settings.max_num_seqs, tokens=settings.kv_cache_tokens),
            prefixes=PrefixCache(settings.prefix_cache_tokens),
            adapters=self._adapters,
            num_speculative_tokens=settings.num_speculative_tokens,
        )
        self._start()

    @property
    def info(self) -> EngineInfo:
        adapter = None if self._adapter is None else self._adapters.peek(self._adapter)
        return self._info if adapter is None else replace(self._info, adapter=adapter.sha256)

    def _adapter_folder(self, request: GenerationRequest) -> str | None:
        if self._merged is None:
            return self._adapter if request.adapter is None else request.adapter
        if request.adapter not in (None, self._adapter):
            raise EngineError(
                f"the adapter {self._adapter} is merged into this engine's weights: set"
                " merge_adapter = false to use others"
            )
        return None

    def _run(self) -> None:
        while (arrivals := self._arrived(wait=not self._batch.busy)) is not None:
            try:
                self._batch.step(arrivals)
            except DeviceLost as error:
                log.critical("the device is lost: %s", error)
                self._tickets.close(EngineLost(f"the device is lost: {error}"))
                break
            except Exception as error:  # a fault of ours must not stop the loop
                log.exception("a step of the engine failed")
                self._batch.fail_all(EngineError(f"the engine failed: {error!r}"))
        self._end()

    def _end(self) -> None:
        """Free the model's memory, here and in the followers."""
        try:
            self._batch.release()
            if isinstance(self._runner, LeadingRunner):
                self._runner.stop()
        except DeviceLost as error:
            log.warning("%s", error)
        del self._batch, self._runner


def _merged(loaded: LoadedModel, reader: AdapterReader, settings: EngineSettings) -> Adapter | None:
    """The adapter that the settings say to merge, once it is in the weights."""
    if settings.adapter is None or not settings.merge_adapter:
        return None
    adapter = reader.read(settings.adapter, dtype=torch.float32)
    if any(_is_tied(loaded, name) for name in adapter.layers):
        raise ModelUnusable(
            f"the adapter {settings.adapter} changes the output layer, whose weights are the"
            " embeddings too: set merge_adapter = false"
        )
    merge(loaded.model, adapter)
    return Adapter(sha256=adapter.sha256, layers={})


def _is_tied(loaded: LoadedModel, name: str) -> bool:
    embeddings = loaded.model.get_input_embeddings()
    return loaded.model.get_submodule(name).weight is getattr(embeddings, "weight", None)


def _device(loaded: LoadedModel, parts: int) -> str:
    return f"{loaded.device_name}, {parts} in parallel" if parts > 1 else loaded.device_name
