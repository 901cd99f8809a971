"""The forward passes. It computes and decides nothing: who runs, and when to stop, is elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from colm.models.engines.native.attention import SLOTS
from colm.models.engines.native.image_processor import features_of, image_token_of, trial
from colm.models.engines.native.kv_cache import CacheShape, KVCache, RowKV, WriteTarget
from colm.models.engines.native.lora import ActiveAdapters, Adapter
from colm.models.engines.native.tokenizer import Prompt
from colm.models.engines.native.weights import LoadedModel
from colm.models.errors import ModelUnusable

#: Largest difference allowed between our logits and the model's own, relative to their size.
_TOLERANCE = {"float32": 1e-3}
_LOW_PRECISION_TOLERANCE = 0.2
_ELSEWHERE = (
    "Serve it with an OpenAI-compatible server (vLLM, llama.cpp, Ollama) and set kind = 'openai'"
)


class Runner:
    """One model and the slots of its KV cache. For one thread at a time.

    Rows are counted from 0; the caller keeps the running ones adjacent. The model is changed to
    attend over slots: do not call `generate` on it any more. Raises ModelUnusable for a model whose
    state does not fit into slots, after trying it out.
    """

    def __init__(self, loaded: LoadedModel, *, max_tokens: int) -> None:
        self._model: Any = loaded.model
        self._dtype = loaded.dtype
        self._device = loaded.device
        self._adapters = ActiveAdapters(loaded.model)
        _check_layers(loaded)
        with torch.inference_mode():
            expected = self._reference()
            image_check = self._seen(loaded)
            self._model.set_attn_implementation(_for_text(self._model.config, SLOTS))
            layers = len(DynamicCache(config=self._model.config).layers)
            self._cache = KVCache(layers, max_tokens)
            self._check(loaded.name, expected)
            if image_check is not None:
                self._check_images(loaded.name, *image_check)
        self._cache.release()

    @property
    def tokens(self) -> int:
        """How many tokens a row has room for."""
        return self._cache.shape.tokens

    def activate(self, adapters: Sequence[Adapter | None]) -> None:
        """The adapter of each row of the next passes, in their order."""
        with torch.inference_mode():
            self._adapters.activate(adapters)

    def forget_adapters(self) -> None:
        """Hold no tensors of adapters until the next `activate`."""
        self._adapters.clear()

    def reserve(self, need: CacheShape, *, rows: int) -> None:
        """Make room for `need`, keeping the first `rows` rows. May run out of memory."""
        with torch.inference_mode():
            self._cache.reserve(need, rows=rows)

    def prefill(
        self, row: int, tokens: Sequence[int], start: int, features: Tensor | None = None
    ) -> Tensor:
        """Append `tokens` to a row that holds `start` tokens; the logits after the last, (1, V).

        Negative tokens are the places of images: `features`, (places, width), stand there.
        """
        row_tokens = [list(tokens)]
        return self._forward(row_tokens, first=row, starts=[start], keep=1, features=features)[
            :, -1
        ]

    def see(self, pixels: Mapping[str, Tensor]) -> Tensor:
        """Image features for the places of a prompt's images: (places, width)."""
        with torch.inference_mode():
            return features_of(self._model, pixels)

    def decode(
        self, tokens: Sequence[list[int]], starts: Sequence[int], *, first: int = 0
    ) -> Tensor:
        """Append as many tokens to each row from `first` on; the logits after every one of them.

        The logits are (rows, tokens, V).
        """
        keep = len(tokens[0])
        return self._forward(list(tokens), first=first, starts=list(starts), keep=keep)

    def move(self, source: int, target: int, length: int) -> None:
        with torch.inference_mode():
            self._cache.move(source, target, length)

    def copy_out(self, row: int, length: int) -> RowKV:
        with torch.inference_mode():
            return self._cache.copy_out(row, length)

    def copy_in(self, row: int, kv: RowKV, length: int) -> None:
        with torch.inference_mode():
            self._cache.copy_in(row, kv, length)

    def blank(self, row: int) -> None:
        with torch.inference_mode():
            self._cache.blank(row)

    def release(self) -> None:
        self._cache.release()
        self._adapters.clear()

    def _forward(
        self,
        tokens: list[list[int]],
        *,
        first: int,
        starts: list[int],
        keep: int,
        features: Tensor | None = None,
    ) -> Tensor:
        with torch.inference_mode():
            inputs = torch.tensor(tokens, device=self._device)
            offsets = torch.tensor(starts, device=self._device)
            queries = inputs.shape[1]
            self._cache.aim = WriteTarget(
                first=first,
                rows=len(tokens),
                queries=queries,
                index=torch.arange(first, first + len(tokens), device=self._device),
                starts=offsets,
                reach=max(starts) + queries,
                start=starts[0],
            )
            steps = torch.arange(queries, device=self._device)
            output = self._model(
                **self._inputs(inputs, features),
                position_ids=offsets[:, None] + steps,
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=keep,
            )
            logits: Tensor = output.logits
            return logits

    def _inputs(self, tokens: Tensor, features: Tensor | None) -> dict[str, Tensor]:
        if features is None:
            return {"input_ids": tokens}
        places = tokens < 0
        embeddings = self._model.get_input_embeddings()(tokens.clamp(min=0))
        embeddings[places] = features.to(embeddings)
        return {"inputs_embeds": embeddings}

    def _reference(self) -> Tensor:
        """Logits of the unchanged model after two short prompts."""
        return torch.cat(
            [
                self._model(torch.tensor([prompt], device=self._device), use_cache=False).logits[
                    :, -1
                ]
                for prompt in self._prompts()
            ]
        ).float()

    def _seen(self, loaded: LoadedModel) -> tuple[Prompt, Tensor] | None:
        """A prompt with an image, and what the model itself says after it."""
        if loaded.processor is None:
            return None
        prompt = trial(loaded)
        token = image_token_of(loaded)
        tokens = [token if t < 0 else t for t in prompt.tokens]
        pixels = {name: value.to(self._device) for name, value in (prompt.pixels or {}).items()}
        logits = self._model(torch.tensor([tokens], device=self._device), **pixels).logits
        return prompt, logits[:, -1].float()

    def _check_images(self, name: str, prompt: Prompt, expected: Tensor) -> None:
        self._cache.reserve(CacheShape(rows=1, tokens=len(prompt.tokens)), rows=0)
        try:
            features = self.see(prompt.pixels or {})
            logits = self.prefill(0, prompt.tokens, 0, features).float()
        except (RuntimeError, ValueError, TypeError, AttributeError, LookupError) as error:
            raise ModelUnusable(
                f"{name} cannot see in a shared batch: {error}. {_ELSEWHERE}"
            ) from error
        self._compare(f"{name}, shown an image,", logits, expected)

    def _prompts(self) -> tuple[list[int], list[int]]:
        vocabulary = self._model.config.get_text_config(decoder=True).vocab_size
        tokens = [(7 * position + 11) % vocabulary for position in range(14)]
        return tokens[:5], tokens[5:]

    def _check(self, name: str, expected: Tensor) -> None:
        """Two rows of different length, decoded together, must say what each says alone."""
        prompts = self._prompts()
        self._cache.reserve(CacheShape(rows=2, tokens=len(prompts[1])), rows=0)
        try:
            for row, prompt in enumerate(prompts):
                self.prefill(row, prompt[:2], 0)
                self.prefill(row, prompt[2:-2], 2)
            logits = self.decode(
                [prompt[-2:] for prompt in prompts], [len(prompt) - 2 for prompt in prompts]
            )[:, -1].float()
        except (RuntimeError, ValueError, TypeError, AttributeError, LookupError) as error:
            raise ModelUnusable(
                f"{name} cannot be run with a shared batch: {error}. {_ELSEWHERE}"
            ) from error
        self._compare(name, logits, expected)

    def _compare(self, name: str, logits: Tensor, expected: Tensor) -> None:
        apart = float((logits - expected).norm() / expected.norm())
        if not apart <= _TOLERANCE.get(self._dtype, _LOW_PRECISION_TOLERANCE):
            raise ModelUnusable(
                f"{name} gives other results in a shared batch (logits differ by {apart:.1%})."
                f" {_ELSEWHERE}"
            )


def _for_text(config: Any, implementation: str) -> str | dict[str, str]:
    """The attention of the language part alone: the vision part has no slots."""
    text = config.get_text_config(decoder=True)
    parts = [name for name in config.sub_configs if getattr(config, name, None) is text]
    return {parts[0]: implementation} if parts else implementation


def _check_layers(loaded: LoadedModel) -> None:
    layers = DynamicCache(config=loaded.model.config).layers
    odd = {
        type(x).__name__ for x in layers if type(x) not in (DynamicLayer, DynamicSlidingWindowLayer)
    }
    if odd or not loaded.model._can_set_attn_implementation():
        kind = ", ".join(sorted(odd)) or "its own attention code"
        raise ModelUnusable(
            f"{loaded.name} ({loaded.model.config.model_type}) keeps more than keys and values of"
            f" attention layers ({kind}). {_ELSEWHERE}"
        )
