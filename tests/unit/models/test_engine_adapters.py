"""LoRA adapters in the transformers engine: each request of a batch has its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from colm.models.adapters import CONFIG_FILE, WEIGHTS_FILE, digest_of_folder
from colm.models.engine_settings import EngineSettings
from colm.models.engines.base import GenerationRequest
from colm.models.engines.libraries.paged import PagedEngine
from colm.models.engines.native.adapter_files import AdapterReader
from colm.models.engines.native.engine import ContinuousEngine
from colm.models.engines.native.int8 import to_int8
from colm.models.engines.native.lora import ActiveAdapters
from colm.models.errors import EngineError, ModelUnusable
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


@pytest.fixture
def a_and_b(folders: dict[tuple[str, str], Path]) -> tuple[Path, Path]:
    return folders["llama", "a"], folders["llama", "b"]


def _engine(**changes: Any) -> ContinuousEngine:
    return ContinuousEngine(tiny_loaded(), EngineSettings(max_num_seqs=4, **changes))


@pytest.fixture
def llama() -> Iterator[ContinuousEngine]:
    engine = _engine()
    yield engine
    engine.close()


def test_kv_of_one_adapter_never_serves_another(
    llama: ContinuousEngine, a_and_b: tuple[Path, Path]
) -> None:
    """Neither from the prefix cache nor from a running row."""
    text = "The same question, again and again."
    for folder in (*a_and_b, None):
        first, again = (
            llama.submit(_with(ask(text, conversation=str(folder)), folder)).result(SOON)
            for _ in range(2)
        )
        expected = (
            _plain("llama", text, 16)
            if folder is None
            else generated_by_peft("llama", folder, text, 16)
        )
        assert (first.text, again.text) == (expected, expected)
        assert (first.cached_tokens, again.cached_tokens > 0) == (0, True)

    text = "Another question, asked at once."
    together = [llama.submit(_with(ask(text), folder)) for folder in (*a_and_b, None)]
    assert [future.result(SOON).cached_tokens for future in together] == [0, 0, 0]


def test_running_requests_end_with_the_version_that_they_began_with(tmp_path: Path) -> None:
    folder, newer_folder = (save_adapter(tmp_path / str(seed), seed=seed) for seed in (1, 2))
    old = digest_of_folder(folder)
    engine = ContinuousEngine(
        tiny_loaded(endless=True), EngineSettings(max_num_seqs=4, num_speculative_tokens=0)
    )
    try:
        alone = engine.submit(_with(ask("Why?", new=300), folder)).result(SOON)
        running = engine.submit(_with(ask("Why?", new=300), folder))
        steps = engine.stats.steps
        while engine.stats.steps < steps + 20:
            assert not running.done()

        _replace(folder, newer_folder)
        newer = engine.submit(_with(ask("Why?", new=20), folder)).result(SOON)
        assert not running.done()
        ended = running.result(SOON)
    finally:
        engine.close()

    assert (ended.text, ended.adapter) == (alone.text, old)
    assert newer.adapter == digest_of_folder(folder) != old
    assert (newer.batch_size, ended.batch_size) == (2, 2)
    assert not alone.text.startswith(newer.text)


def _replace(folder: Path, newer: Path) -> None:
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        (newer / name).replace(folder / name)


def test_the_settings_name_the_adapter_of_requests_that_name_none(
    a_and_b: tuple[Path, Path],
) -> None:
    a, b = a_and_b
    engine = _engine(adapter=str(a), max_adapters=1)
    try:
        assert engine.info.adapter == digest_of_folder(a)
        own = engine.submit(ask("Who?")).result(SOON)
        other = engine.submit(_with(ask("Who?"), b)).result(SOON)
    finally:
        engine.close()
    assert (own.text, own.adapter) == (
        generated_by_peft("llama", a, "Who?", 16), digest_of_folder(a),
    )  # fmt: skip
    assert (other.text, other.adapter) == (
        generated_by_peft("llama", b, "Who?", 16), digest_of_folder(b),
    )  # fmt: skip


def test_a_merged_adapter_is_what_it_is_beside_others(a_and_b: tuple[Path, Path]) -> None:
    a, b = a_and_b
    engine = _engine(adapter=str(a), merge_adapter=True)
    try:
        completion = engine.submit(_with(ask("Who?"), a)).result(SOON)
        with pytest.raises(EngineError, match="set merge_adapter = false"):
            engine.submit(_with(ask("Who?"), b)).result(SOON)
        hooks = [module._forward_hooks for module in engine._runner._model.modules()]
        assert engine.info.adapter == completion.adapter == digest_of_folder(a)
    finally:
        engine.close()
    assert completion.text == generated_by_peft("llama", a, "Who?", 16)
    assert not any(hooks)


def test_weights_that_the_embeddings_share_are_not_merged(tmp_path: Path) -> None:
    folder = save_adapter(tmp_path / "head", target_modules=["lm_head"])
    loaded = tiny_loaded()
    loaded.model.lm_head.weight = loaded.model.get_input_embeddings().weight
    settings = EngineSettings(adapter=str(folder), merge_adapter=True)
    with pytest.raises(ModelUnusable, match="the embeddings too: set merge_adapter = false"):
        ContinuousEngine(loaded, settings)


def test_an_adapter_that_cannot_be_read_fails_its_own_request(
    llama: ContinuousEngine, a_and_b: tuple[Path, Path], tmp_path: Path
) -> None:
    futures = [llama.submit(_with(ask("Who?"), folder)) for folder in (a_and_b[0], tmp_path / "no")]
    assert futures[0].result(SOON).adapter == digest_of_folder(a_and_b[0])
    with pytest.raises(ModelUnusable, match="there is no such folder"):
        futures[1].result(SOON)


def test_choices_are_scored_with_the_adapter(
    llama: ContinuousEngine, a_and_b: tuple[Path, Path]
) -> None:
    def scores(folder: Path | None) -> dict[str, float] | None:
        request = replace(_with(ask("Which?"), folder), choices=("one", "another"))
        return llama.submit(request).result(SOON).choice_logprobs

    alone = [scores(folder) for folder in (None, *a_and_b)]
    busy = [llama.submit(_with(ask("Tell me.", new=60), folder)) for folder in a_and_b]
    assert [scores(folder) for folder in (None, *a_and_b)] == [
        pytest.approx(expected, abs=1e-3) for expected in alone
    ]
    assert len({str(expected) for expected in alone}) == 3
    for future in busy:
        future.result(SOON)


@pytest.mark.skipif(
    "fbgemm" not in torch.backends.quantized.supported_engines, reason="torch has no FBGEMM"
)
def test_eight_bit_layers_take_adapters(a_and_b: tuple[Path, Path]) -> None:
    loaded = tiny_loaded()
    to_int8(loaded.model)
    adapter = AdapterReader(loaded).read(str(a_and_b[0]))
    active = ActiveAdapters(loaded.model)
    name, low = next(iter(adapter.layers.items()))
    layer, inputs = loaded.model.get_submodule(name), torch.randn(3, 2, 32)
    with torch.inference_mode():
        plain = layer(inputs)
        active.activate([adapter, None, adapter])
        rows = layer(inputs)
    product = inputs @ low.a.T @ low.b
    product[1] = 0
    torch.testing.assert_close(rows - plain, product, atol=1e-4, rtol=1e-4)


def test_other_engines_refuse_a_request_with_an_adapter() -> None:
    engine = PagedEngine(tiny_loaded(), EngineSettings(kind="paged", kv_cache_tokens=512))
    try:
        with pytest.raises(EngineError, match="'paged' takes no adapters"):
            engine.submit(_with(ask("Who?"), Path("a"))).result(SOON)
    finally:
        engine.close()


def test_stacks_are_kept_while_they_serve_and_dropped_with_their_adapters(
    folders: dict[tuple[str, str], Path],
) -> None:
    loaded = tiny_loaded()
    a, b, c = (AdapterReader(loaded).read(str(folders["llama", name])) for name in NAMES)
    active = ActiveAdapters(loaded.model)
    with torch.inference_mode():
        active.activate([a, b, c, None])
        first = active._stack
        active.activate([c, a])
        assert active._stack is first  # at most twice as many columns as needed
        active.activate([a, None])
        assert active._stack is not None
        assert active._stack.adapters == (a,)
        active.clear()
    assert not active._products
    assert not vars(active)["_stack"]
