"""An adapter that does not fit its base model is refused at the start, with what to do."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from colm.models.adapters import (
    BASE_KEY,
    CONFIG_FILE,
    WEIGHTS_FILE,
    base_sha256,
    configured_adapter,
    digest_of_folder,
)
from colm.models.engine_settings import EngineSettings
from colm.models.engines.factory import build_engine
from colm.models.engines.native.adapter_files import AdapterReader
from colm.models.engines.native.weights import LoadedModel
from colm.models.errors import ModelUnusable
from tests.unit.adapters_tiny import change_config, change_tensors, save_adapter
from tests.unit.engines_tiny import tiny_loaded, tiny_model, tiny_tokenizer

Tensors = dict[str, torch.Tensor]
A_KEY = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_adapter(tmp_path / "adapter")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as a folder."""
    folder = tmp_path_factory.mktemp("base")
    tiny_model().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def refusal(folder: Path, loaded: LoadedModel | None = None) -> str:
    with pytest.raises(ModelUnusable) as refused:
        AdapterReader(loaded or tiny_loaded()).read(str(folder))
    assert str(folder) in str(refused.value)
    return str(refused.value)


def _with(key: str, value: torch.Tensor) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {**tensors, key: value}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda tensors: {k: v for k, v in tensors.items() if k != A_KEY},
            "lacks 1 of its tensors",
        ),
        (
            _with(A_KEY.replace("q_proj", "p_proj"), torch.zeros(4, 32)),
            "belong to no target module",
        ),
        (_with(A_KEY, torch.full((4, 32), float("nan"))), "not finite"),
        (_with(A_KEY, torch.full((4, 32), float("inf"))), "not finite"),
        (_with(A_KEY, torch.zeros(4, 32, dtype=torch.int32)), "not finite"),
        (
            _with(A_KEY, torch.zeros(4, 33)),
            r"shape (4, 33), and rank and base model make it (4, 32)",
        ),
        (_with(A_KEY, torch.zeros(5, 32)), "shape (5, 32)"),
    ],
)
def test_tensors_that_do_not_fit_are_named(
    folder: Path, change: Callable[[Tensors], Tensors], reason: str
) -> None:
    change_tensors(folder, change)
    assert reason in refusal(folder)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"r": 5}, "shape"),
        ({"r": 0}, "rank below 1"),
        ({"r": "many"}, "config cannot be read"),
        ({"rank_pattern": {"(": 4}}, "config cannot be read"),
        ({"target_modules": ["q_proj", "c_attn"]}, "'c_attn' is no module of the base model"),
        ({"target_modules": "nothing.*"}, "match no module"),
        ({"target_modules": ["embed_tokens"]}, "belong to no target module"),
        ({"use_dora": True}, "uses use_dora"),
        ({"lora_bias": True}, "uses lora_bias"),
        ({"modules_to_save": ["lm_head"]}, "uses modules_to_save"),
        ({"a_variant_of_the_future": 1}, "uses a_variant_of_the_future"),
        ({"bias": "all"}, "changes biases"),
        ({"init_lora_weights": "pissa"}, "changes the base model's weights too"),
        ({"peft_type": "IA3"}, "peft_type is 'IA3'"),
    ],
)
def test_configs_that_the_engine_does_not_compute_are_named(
    folder: Path, fields: dict[str, Any], reason: str
) -> None:
    change_config(folder, **fields)
    assert reason in refusal(folder)


def test_dora_as_peft_saves_it_is_refused(tmp_path: Path) -> None:
    assert "use_dora" in refusal(save_adapter(tmp_path / "dora", use_dora=True))


def test_a_pickle_is_refused_and_never_opened(folder: Path) -> None:
    (folder / WEIGHTS_FILE).rename(folder / "adapter_model.bin")
    assert "is a pickle" in refusal(folder)


@pytest.mark.parametrize("name", [CONFIG_FILE, WEIGHTS_FILE])
def test_what_is_missing_or_cut_short_is_named(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    assert "cannot be used" in refusal(folder)
    (folder / name).unlink()
    assert f"a folder with {CONFIG_FILE} and {WEIGHTS_FILE}" in refusal(folder)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "no such folder" in refusal(tmp_path / "nothing")


def test_an_adapter_of_another_base_is_refused_when_the_engine_starts(
    base: Path, folder: Path
) -> None:
    def engine() -> None:
        build_engine(
            EngineSettings(model=str(base), adapter=str(folder), dtype="float32", device="cpu")
        ).close()

    change_tensors(folder, dict, {BASE_KEY: base_sha256(base)})
    engine()
    change_tensors(folder, dict, {BASE_KEY: "0" * 64})
    with pytest.raises(ModelUnusable, match=r"trained on another base model .sha256 000000000000"):
        engine()


def test_an_adapter_that_names_no_base_is_taken_with_a_warning(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        AdapterReader(tiny_loaded()).read(str(folder))
    assert "cannot be checked" in caplog.text


def test_the_digest_of_a_base_is_of_its_tensors_and_config(base: Path, tmp_path: Path) -> None:
    model = tiny_model()
    model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    assert base_sha256(tmp_path / "shards") == base_sha256(base)

    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[3, 3] += 1
    model.save_pretrained(tmp_path / "other")
    assert base_sha256(tmp_path / "other") != base_sha256(base)

    (tmp_path / "shards" / CONFIG_FILE.replace("adapter_", "")).write_text(
        json.dumps(json.loads((base / "config.json").read_text()) | {"rms_norm_eps": 0.1})
    )
    assert base_sha256(tmp_path / "shards") != base_sha256(base)


def test_the_digest_of_an_adapter_is_of_its_weights_and_of_what_its_config_says(
    folder: Path,
) -> None:
    before = digest_of_folder(folder)
    config = json.loads((folder / CONFIG_FILE).read_text())
    (folder / CONFIG_FILE).write_text(json.dumps(dict(reversed(config.items()))))
    assert digest_of_folder(folder) == before == configured_adapter(str(folder))
    assert AdapterReader(tiny_loaded()).read(str(folder)).sha256 == before

    change_config(folder, lora_alpha=7)
    changed = digest_of_folder(folder)
    change_tensors(folder, _with(A_KEY, torch.zeros(4, 32)))
    assert len({before, changed, digest_of_folder(folder)}) == 3
    assert configured_adapter(str(folder)) == digest_of_folder(folder)
    assert configured_adapter("an-adapter-of-an-endpoint") == "an-adapter-of-an-endpoint"


@pytest.mark.parametrize(
    "config",
    [
        {"target_modules": "all-linear"},
        {"target_modules": r".*\.(q|v)_proj"},
        {"target_modules": ["q_proj", "up_proj"], "exclude_modules": ["layers.0.mlp.up_proj"]},
        {"layers_to_transform": 0, "layers_pattern": "layers"},
        {"target_modules": ["lm_head", "q_proj"]},
    ],
)
def test_modules_are_chosen_as_peft_chooses_them(tmp_path: Path, config: dict[str, Any]) -> None:
    """All tensors that peft saved have their place, and none is missing."""
    folder = save_adapter(tmp_path / "adapter", **config)
    if config.get("target_modules") == "all-linear":
        change_config(
            folder, target_modules="all-linear"
        )  # peft saves the names that it stands for
    tensors = safetensors.torch.load_file(folder / WEIGHTS_FILE)
    layers = AdapterReader(tiny_loaded()).read(str(folder)).layers
    assert len(layers) * 2 == len(tensors)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"kind": "paged"}, "adapter is not for kind 'paged'"),
        ({"kind": "openvino"}, "adapter is not for kind 'openvino'"),
        ({"kind": "scripted"}, "adapter is not for kind 'scripted'"),
        ({"tensor_parallel": 2}, "set tensor_parallel = 1"),
        ({"merge_adapter": True, "dtype": "int8"}, "unquantized"),
        ({"merge_adapter": True, "model": "m.GGUF"}, "unquantized"),
        ({"merge_adapter": True, "adapter": None}, "merge_adapter needs an adapter"),
    ],
)
def test_settings_that_no_engine_can_follow_are_refused(
    settings: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        EngineSettings.model_validate({"adapter": "folder", **settings})
