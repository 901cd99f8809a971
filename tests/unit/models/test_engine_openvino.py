"""The OpenVINO engine: converted once, equal to the model alone, honest where it cannot be."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from colm.models.engine_settings import EngineSettings
from colm.models.engines.factory import build_engine
from colm.models.errors import ModelUnusable
from colm.models.messages import Sampling
from tests.unit.engines_asking import SOON, ask, expect_generated
from tests.unit.engines_tiny import tiny_loaded

if TYPE_CHECKING:
    from colm.models.engines.libraries.openvino import OpenVINOEngine


def test_where_the_extra_is_missing_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "colm.models.engines.libraries.openvino", raising=False)
    monkeypatch.setitem(sys.modules, "openvino_genai", None)

    with pytest.raises(ModelUnusable, match=r"pip install 'colm\[engine,openvino\]'"):
        build_engine(EngineSettings(kind="openvino", model="any"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model as transformers saves it."""
    pytest.importorskip("openvino_genai", reason="the extra 'openvino' is not installed")
    loaded, path = tiny_loaded(), tmp_path_factory.mktemp("models") / "tiny"
    loaded.model.save_pretrained(path)
    loaded.tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[OpenVINOEngine]:
    from colm.models.engines.libraries.openvino import OpenVINOEngine

    engine = OpenVINOEngine(
        EngineSettings(kind="openvino", model="tiny", dtype="float32", max_num_seqs=4),
        model_path=str(folder),
    )
    yield engine
    engine.close()


def test_greedy_completions_are_those_of_the_model_alone(engine: OpenVINOEngine) -> None:
    texts = ["One.", "Two, and more of it." * 5, "Three?", "abc", "Five" * 20]

    futures = [engine.submit(ask(text)) for text in texts]

    for text, future in zip(texts, futures, strict=True):
        expect_generated("llama", (text,), 16, future.result(SOON))


def test_a_seed_draws_the_same_whoever_shares_the_batch(engine: OpenVINOEngine) -> None:
    dice = Sampling(max_new_tokens=24, temperature=1.2, top_p=0.9, seed=11)
    alone = engine.submit(ask("Roll.", sampling=dice)).result(SOON)

    crowd = [
        engine.submit(ask("x" * size, sampling=dice.model_copy(update={"seed": size})))
        for size in (3, 30, 90)
    ]
    together = engine.submit(ask("Roll.", sampling=dice)).result(SOON)

    assert together.text == alone.text
    assert len({future.result(SOON).text for future in crowd}) == 3


def test_a_folder_is_converted_once(engine: OpenVINOEngine, folder: Path) -> None:
    from colm.models.engines.libraries.openvino import prepared_folder

    made = folder.with_name("tiny-openvino-float32")
    before = made.stat().st_mtime_ns
    settings = EngineSettings(kind="openvino", model=str(folder), dtype="float32")

    assert engine.info.context_length == 4096
    assert prepared_folder(settings) == made
    assert prepared_folder(settings.model_copy(update={"model": str(made)})) == made
    assert made.stat().st_mtime_ns == before


@pytest.mark.usefixtures("folder")
def test_what_it_cannot_do_is_refused_with_advice(tmp_path: Path) -> None:
    from colm.models.engines.libraries.openvino import OpenVINOEngine
    from colm.models.engines.libraries.openvino_export import export

    for change, why in (
        ({"device": "cuda"}, "runs on the CPU"),
        ({"dtype": "float16"}, "bfloat16 or float32"),
        ({"model": "no/such"}, "knows no hub"),
    ):
        with pytest.raises(ModelUnusable, match=why):
            OpenVINOEngine(EngineSettings(kind="openvino", **change))  # type: ignore[arg-type] # str
    with pytest.raises(ModelUnusable, match="kind = 'transformers'"):
        export(tiny_loaded("mistral"), tmp_path / "mistral", half=False)
    assert list(tmp_path.iterdir()) == []
