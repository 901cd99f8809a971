"""From what a user writes in the settings to a model that runs, or to advice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import gguf
import numpy
import pytest
import torch
from safetensors.torch import load_file, save_file

from colm.models.engine_settings import EngineSettings
from colm.models.engines.base import GenerationRequest
from colm.models.engines.factory import build_engine
from colm.models.engines.native.gguf import convert_gguf
from colm.models.engines.native.weights import load
from colm.models.errors import ModelUnusable
from colm.models.messages import Sampling, Turn
from colm.tasks.config.settings import ParticipantSettings, Settings
from colm.workers.doctor import machine
from tests.unit.engines_tiny import SPECIAL, TEMPLATE, tiny_model, tiny_tokenizer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A transformers model as a user has it on disk."""
    folder = tmp_path / "tiny"
    tiny_model().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def gguf_file(tmp_path: Path) -> Path:
    """A Llama of two layers as llama.cpp's converter writes one."""
    path = tmp_path / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(256)
    writer.add_embedding_length(32)
    writer.add_block_count(2)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_dimension_count(8)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    vocabulary = _gguf_vocabulary()
    writer.add_token_list(vocabulary)
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(vocabulary) - len(SPECIAL)))
    writer.add_token_merges(["1 2"])
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(1)
    writer.add_eot_token_id(0)
    writer.add_chat_template(TEMPLATE)
    for name, shape in _gguf_tensors(len(vocabulary)).items():
        values = numpy.random.default_rng(1).normal(0, 0.5, shape).astype(numpy.float32)
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _gguf_vocabulary() -> list[str]:
    made: Any = tiny_tokenizer()
    return [*sorted(made.get_vocab(), key=made.get_vocab().__getitem__), "12"]


def _gguf_tensors(vocabulary: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes; numpy's order of dimensions, which the writer turns round."""
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (vocabulary, 32),
        "output_norm.weight": (32,),
        "output.weight": (vocabulary, 32),
    }
    for layer in range(2):
        shapes |= {
            f"blk.{layer}.attn_norm.weight": (32,),
            f"blk.{layer}.ffn_norm.weight": (32,),
            f"blk.{layer}.attn_q.weight": (32, 32),
            f"blk.{layer}.attn_k.weight": (16, 32),
            f"blk.{layer}.attn_v.weight": (16, 32),
            f"blk.{layer}.attn_output.weight": (32, 32),
            f"blk.{layer}.ffn_gate.weight": (64, 32),
            f"blk.{layer}.ffn_up.weight": (64, 32),
            f"blk.{layer}.ffn_down.weight": (32, 64),
        }
    return shapes


def _said(settings: EngineSettings, model_path: Path | None = None) -> str:
    engine = build_engine(settings, model_path=str(model_path) if model_path else None)
    request = GenerationRequest(
        request_id="x",
        messages=(Turn(role="user", content="Count to 12."),),
        sampling=Sampling(max_new_tokens=8, temperature=0.0),
    )
    try:
        return engine.submit(request).result(30).text
    finally:
        engine.close()


def test_a_folder_is_loaded_in_the_dtype_asked_for(folder: Path) -> None:
    for dtype in ("bfloat16", "float32"):
        assert load(EngineSettings(model=str(folder), device="cpu", dtype=dtype)).dtype == dtype


def test_the_path_of_a_model_may_be_told_apart_from_its_name(folder: Path) -> None:
    engine = build_engine(EngineSettings(model="quickstart"), model_path=str(folder))
    try:
        assert engine.info.model == "quickstart"
        assert engine.info.engine == "transformers"
        assert engine.info.capacity == 8
    finally:
        engine.close()


def test_a_context_may_be_shortened_but_not_stretched(folder: Path) -> None:
    assert load(EngineSettings(model=str(folder), max_model_len=100)).context_length == 100
    assert load(EngineSettings(model=str(folder), max_model_len=9000)).context_length == 4096


def test_a_context_in_which_results_would_depend_on_the_batch_is_shortened(folder: Path) -> None:
    model = tiny_model()
    model.config.rope_parameters = {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "factor": 4.0,
        "original_max_position_embeddings": 1024,
        "short_factor": [1.0] * 4,
        "long_factor": [2.0] * 4,
    }
    model.save_pretrained(folder)

    assert load(EngineSettings(model=str(folder), device="cpu")).context_length == 1024


@pytest.mark.parametrize(
    ("model", "advice"),
    [
        ("/nowhere/model", "no folder /nowhere/model"),
        ("/nowhere/model.gguf", "no file /nowhere/model.gguf"),
    ],
)
def test_a_model_that_is_not_there_is_said_not_to_be(model: str, advice: str) -> None:
    with pytest.raises(ModelUnusable, match=advice):
        build_engine(EngineSettings(model=model))


def test_a_folder_without_a_model_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(ModelUnusable, match=r"no config\.json"):
        build_engine(EngineSettings(model=str(tmp_path)))


def test_a_folder_without_weights_is_unusable(folder: Path) -> None:
    (folder / "model.safetensors").unlink()

    with pytest.raises(ModelUnusable, match="cannot be loaded"):
        build_engine(EngineSettings(model=str(folder)))


def test_damaged_weights_are_unusable(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])

    with pytest.raises(ModelUnusable, match="cannot be loaded"):
        build_engine(EngineSettings(model=str(folder)))


def test_weights_that_are_missing_are_not_made_up(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(ModelUnusable, match=r"lacks 1 .*layers\.1\.mlp\.up_proj"):
        build_engine(EngineSettings(model=str(folder)))


def _changed(name: str, **changes: Any) -> Any:
    def change(folder: Path) -> None:
        found = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(found | changes))

    return change


def _merged(folder: Path) -> None:
    found = json.loads((folder / "tokenizer.json").read_text())
    found["model"]["merges"] = [["zz", "qq"]]
    (folder / "tokenizer.json").write_text(json.dumps(found))


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_merged, "zz"),
        (lambda folder: (folder / "tokenizer.json").write_text("null"), "NoneType"),
        (lambda folder: (folder / "tokenizer_config.json").write_text("[]"), "list"),
        (lambda folder: (folder / "generation_config.json").write_text("[]"), "TypeError"),
        (lambda folder: (folder / "config.json").write_text("null"), "TypeError"),
        (_changed("config.json", num_attention_heads=0), "ZeroDivisionError"),
        (_changed("config.json", hidden_size=None), "hidden_size"),
        (_changed("config.json", model_type=["llama"]), "TypeError"),
        (_changed("config.json", hidden_act="none such"), "none such"),
        (_changed("generation_config.json", eos_token_id={"a": 1}), "TypeError"),
        (
            lambda folder: (folder / "chat_template.jinja").write_text("{{ 1 // 0 }}"),
            "ZeroDivision",
        ),
    ],
)
def test_whatever_is_wrong_with_a_folder_makes_it_unusable(
    folder: Path, spoil: Any, why: str
) -> None:
    spoil(folder)

    with pytest.raises(ModelUnusable, match=why) as told:
        build_engine(EngineSettings(model=str(folder), device="cpu"))
    assert str(folder) in str(told.value)


def test_doctor_tells_of_a_template_that_cannot_ask_a_question(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ 1 // 0 }}")
    ada = ParticipantSettings(engine=EngineSettings(model=str(folder), device="cpu"))

    (found,) = machine.models(Settings(), {"ada": ada}, load=True)

    assert (found.about, found.grade) == ("model of ada", "problem")
    assert "chat template fails: ZeroDivisionError" in found.detail


def _with_own_code(folder: Path, code: str) -> None:
    """A model of a kind that only code in its folder knows."""
    (folder / "own.py").write_text(
        "from transformers import LlamaConfig, LlamaForCausalLM\n"
        "class OwnConfig(LlamaConfig):\n    model_type = 'own'\n"
        f"class Own(LlamaForCausalLM):\n    config_class = OwnConfig\n{code}"
    )
    own = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.Own"}
    _changed("config.json", model_type="own", auto_map=own)(folder)


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A place for the code of models that goes with the test."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "m"))


@pytest.mark.usefixtures("modules")
def test_code_in_a_folder_runs_only_where_the_settings_say_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: object) -> NoReturn:
        raise AssertionError("somebody was asked on a terminal")

    monkeypatch.setattr("builtins.input", asked)
    expected = _said(EngineSettings(model=str(folder), device="cpu", dtype="float32"))
    mark = folder / "ran"
    _with_own_code(folder, f"open({str(mark)!r}, 'w').close()\n")

    with pytest.raises(ModelUnusable, match="trust_remote_code = true in this engine's table"):
        build_engine(EngineSettings(model=str(folder), device="cpu"))
    assert not mark.exists()
    trusted = EngineSettings(
        model=str(folder), device="cpu", dtype="float32", trust_remote_code=True
    )
    assert _said(trusted) == expected
    assert mark.exists()


@pytest.mark.usefixtures("modules")
@pytest.mark.parametrize(
    ("code", "why"), [("1 // 0\n", "ZeroDivisionError"), ("raise SystemExit(3)\n", "SystemExit")]
)
def test_trusted_code_that_fails_makes_the_model_unusable(
    folder: Path, code: str, why: str
) -> None:
    _with_own_code(folder, code)

    with pytest.raises(ModelUnusable, match=why):
        build_engine(EngineSettings(model=str(folder), device="cpu", trust_remote_code=True))


def test_a_model_without_a_chat_template_is_refused_with_advice(folder: Path) -> None:
    tiny_tokenizer(None).save_pretrained(folder)
    (folder / "chat_template.jinja").unlink()

    with pytest.raises(ModelUnusable, match=r"chat_template\.jinja"):
        build_engine(EngineSettings(model=str(folder)))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused_with_advice(folder: Path) -> None:
    with pytest.raises(ModelUnusable, match="device = 'cpu'"):
        build_engine(EngineSettings(model=str(folder), device="cuda"))


def test_a_gguf_says_the_same_as_the_folder_made_of_it(gguf_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "made" / "tiny"
    convert_gguf(gguf_file, folder)

    settings = EngineSettings(model="quickstart", dtype="float32", device="cpu")
    assert _said(settings, folder) == _said(settings, gguf_file) != ""
    assert [path.name for path in folder.parent.iterdir()] == ["tiny"]


def test_a_gguf_ends_a_turn_where_the_file_says_so_whatever_its_name(gguf_file: Path) -> None:
    """The file names `<|pad|>` as the end of a turn, and `<|end|>` as that of a text."""
    shouting = gguf_file.rename(gguf_file.with_name("TINY.GGUF"))

    loaded = load(EngineSettings(model=str(shouting), device="cpu"))

    assert loaded.ends == {SPECIAL.index("<|pad|>"), SPECIAL.index("<|end|>")}


def test_a_conversion_draws_nothing_on_the_terminal(
    gguf_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    convert_gguf(gguf_file, tmp_path / "made")
    assert capfd.readouterr() == ("", "")


def test_a_gguf_splits_digits_as_its_model_was_trained(gguf_file: Path) -> None:
    tokenizer: Any = load(EngineSettings(model=str(gguf_file), device="cpu")).tokenizer

    # The file has a merge of "1" and "2": only a tokenizer that misreads it uses it here.
    assert tokenizer.tokenize("a12") == ["a", "1", "2"]


def test_a_conversion_that_fails_leaves_nothing(gguf_file: Path, tmp_path: Path) -> None:
    gguf_file.write_bytes(gguf_file.read_bytes()[:3000])
    folder = tmp_path / "made" / "tiny"

    with pytest.raises(ModelUnusable, match="cannot be converted"):
        convert_gguf(gguf_file, folder)
    assert list(folder.parent.iterdir()) == []


def test_a_folder_that_exists_is_not_converted_again(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()

    convert_gguf(tmp_path / "gone.gguf", folder)

    assert list(folder.iterdir()) == []


def test_only_the_transformers_engine_imports_torch() -> None:
    code = (
        "import sys\n"
        "from colm.models.engine_settings import EngineSettings\n"
        "from colm.models.engines.factory import build_engine\n"
        "build_engine(EngineSettings(kind='scripted')).close()\n"
        "build_engine(EngineSettings(kind='openai', base_url='http://x/v1')).close()\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
