"""LoRA adapters in the transformers engine: each request of a batch has its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from colm.models.adapters import digest_of_folder
from colm.models.engine_settings import EngineSettings
from colm.models.engines.base import GenerationRequest
from colm.models.engines.native.engine import ContinuousEngine
from tests.unit.adapters_tiny import generated_by_peft, save_adapter
from tests.unit.engines_asking import SOON, TOKENIZER, ask, generated
from tests.unit.engines_tiny import DRIVEN, tiny_loaded

NAMES = ("a", "b", "c")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """Three adapters of each family: other ranks, layers and scales."""
    root = tmp_path_factory.mktemp("adapters")
    options: dict[str, dict[str, Any]] = {
        "a": {},
        "b": {"r": 7, "lora_alpha": 5, "use_rslora": True, "layers_to_transform": [1]},
        "c": {"rank_pattern": {"o_proj": 2}, "alpha_pattern": {"layers.0.self_attn.o_proj": 3}},
    }
    return {
        (family, name): save_adapter(root / family / name, family, seed=seed, **options[name])
        for family in DRIVEN
        for seed, name in enumerate(NAMES, start=5)
    }


@pytest.fixture(scope="module", params=list(DRIVEN))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def engine(family: str) -> Iterator[ContinuousEngine]:
    engine = ContinuousEngine(
        tiny_loaded(family),
        EngineSettings(max_num_seqs=4, kv_cache_tokens=1600, max_adapters=2),
    )
    yield engine
    engine.close()


def _with(request: GenerationRequest, adapter: Path | None) -> GenerationRequest:
    return replace(request, adapter=None if adapter is None else str(adapter))


def _plain(family: str, text: str, new: int) -> str:
    tokens = generated(family, (text,), new)
    return str(TOKENIZER.decode(tokens, skip_special_tokens=True))


_texts = st.text(st.sampled_from("abc ,.XYZ"), max_size=40)
_rows = st.tuples(st.sampled_from([*NAMES, None]), _texts, st.integers(1, 16))


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(mix=st.lists(_rows, min_size=1, max_size=8))
def test_any_mix_of_adapters_says_what_peft_generates_alone(
    engine: ContinuousEngine,
    family: str,
    folders: dict[tuple[str, str], Path],
    mix: list[tuple[str | None, str, int]],
) -> None:
    """Three adapters, and room for two: some wait."""
    futures = [
        engine.submit(
            _with(ask(text, new=new, conversation=text), folders.get((family, name or "")))
        )
        for name, text, new in mix
    ]
    for (name, text, new), future in zip(mix, futures, strict=True):
        completion = future.result(SOON)
        if name is None:
            assert (completion.text, completion.adapter) == (_plain(family, text, new), None)
        else:
            folder = folders[family, name]
            assert completion.text == generated_by_peft(family, folder, text, new)
            assert completion.adapter == digest_of_folder(folder)
