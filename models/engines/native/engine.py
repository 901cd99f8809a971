"""The transformers engine: continuous batching on one thread over a cache of slots."""

from __future__ import annotations

import logging

from colm.models.engine_settings import EngineSettings
from colm.models.engines.base import EngineInfo
from colm.models.engines.native.base import LocalEngine
from colm.models.engines.native.decoding import DeviceLost
from colm.models.engines.native.image_processor import tokenizer_of
from colm.models.engines.native.model_runner import Runner
from colm.models.engines.native.prefix_cache import PrefixCache
from colm.models.engines.native.scheduler import Scheduler
from colm.models.engines.native.tensor_parallel import LeadingRunner
from colm.models.engines.native.torch_threads import single_intraop_pool
from colm.models.engines.native.waiting_queue import KVBudget
from colm.models.engines.native.weights import LoadedModel
from colm.models.errors import EngineError, EngineLost

log = logging.getLogger(__name__)


class ContinuousEngine(LocalEngine):
    """Generates with a transformers model in this process; many requests share each forward pass.

    Sampling is what the request says: the defaults in the model's generation_config are not used.
    In float32 a greedy completion equals `model.generate()` of the prompt alone, token for token.
    """

    scores = True

    def __init__(self, loaded: LoadedModel, settings: EngineSettings) -> None:
        context = min(loaded.context_length, settings.kv_cache_tokens)
        info = EngineInfo(
            engine="transformers",
            model=loaded.name,
            dtype=loaded.dtype,
            device=_device(loaded, settings.tensor_parallel),
            context_length=context,
            capacity=settings.max_num_seqs,
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
        self._batch = Scheduler(
            self._runner,
            tickets=self._tickets,
            info=info,
            room=KVBudget(rows=settings.max_num_seqs, tokens=settings.kv_cache_tokens),
            kept=PrefixCache(settings.prefix_cache_tokens),
            num_speculative_tokens=settings.num_speculative_tokens,
        )
        self._start()

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
        """Give the model's memory back, here and in the followers."""
        try:
            self._batch.release()
            if isinstance(self._runner, LeadingRunner):
                self._runner.stop()
        except DeviceLost as error:
            log.warning("%s", error)
        del self._batch, self._runner


def _device(loaded: LoadedModel, parts: int) -> str:
    return f"{loaded.device_name}, {parts} in parallel" if parts > 1 else loaded.device_name
