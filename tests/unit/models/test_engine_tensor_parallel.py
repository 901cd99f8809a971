"""One model cut over two processes says what it says in one, and notices when a part is gone."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from colm.models.engine_settings import EngineSettings
from colm.models.engines.base import Engine, GenerationRequest
from colm.models.engines.factory import build_engine
from colm.models.engines.native.tensor_parallel import load_parallel
from colm.models.errors import EngineLost, ModelUnusable
from colm.models.messages import Completion, Sampling, Turn
from tests.unit.engines_tiny import tiny_loaded

ROOT = Path(__file__).parents[3]
SOON = 60.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    loaded = tiny_loaded()
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    return folder


def build(folder: Path, parts: int) -> Engine:
    return build_engine(
        EngineSettings(
            model=str(folder),
            dtype="float32",
            device="cpu",
            threads=1,
            max_num_seqs=3,
            kv_cache_tokens=512,
            prefix_cache_tokens=300,
            tensor_parallel=parts,
        )
    )


def ask(number: int, prompt: str, tokens: int = 20) -> GenerationRequest:
    return GenerationRequest(
        request_id=f"r{number}.{len(prompt)}",
        messages=(Turn(role="user", content=prompt),),
        sampling=Sampling(
            max_new_tokens=tokens, temperature=0.0 if number % 2 else 0.8, seed=number
        ),
        conversation=f"c{number}",
    )


def talk(engine: Engine) -> list[Completion]:
    """Two visits to each conversation; more of them than are kept or fit into the batch."""
    prompts = ["hello " * (number + 2) for number in range(6)]
    first = [engine.submit(ask(number, prompt)) for number, prompt in enumerate(prompts)]
    done = [future.result(SOON) for future in first]
    longer = [prompt + "and more" for prompt in prompts]
    second = [engine.submit(ask(number, prompt)) for number, prompt in enumerate(longer)]
    return done + [future.result(SOON) for future in second]


def run_apart(program: str, *arguments: str) -> str:
    """Run it in a process of its own: a process group is for the life of a process."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def same_in_parts(folder: Path) -> None:
    whole, parts = build(folder, 1), build(folder, 2)
    expected, found = talk(whole), talk(parts)
    assert [c.text for c in found] == [c.text for c in expected]
    assert sum(c.cached_tokens for c in found) > 0
    assert found[0].device == "cpu, 2 in parallel"
    followers = multiprocessing.active_children()
    assert len(followers) == 1
    parts.close()
    followers[0].join(SOON)
    assert followers[0].exitcode == 0
    whole.close()


def lost_with_a_part(folder: Path) -> None:
    engine = build(folder, 2)
    endless = engine.submit(ask(1, "on and on", tokens=400))
    (follower,) = multiprocessing.active_children()
    assert follower.pid is not None
    os.kill(follower.pid, signal.SIGKILL)
    with pytest.raises(EngineLost, match="a process of the tensor-parallel engine is gone"):
        endless.result(SOON)
    with pytest.raises(EngineLost):
        engine.submit(ask(2, "again")).result(SOON)
    engine.close()


@pytest.mark.parametrize("what", ["same_in_parts", "lost_with_a_part"])
def test_a_model_in_two_parts(what: str, folder: Path) -> None:
    program = (
        "import sys, pathlib\n"
        "if __name__ == '__main__':\n"
        "    import tests.unit.models.test_engine_tensor_parallel as here\n"
        f"    here.{what}(pathlib.Path(sys.argv[1]))\n"
    )
    run_apart(program, str(folder))


def test_parts_are_for_the_transformers_engine() -> None:
    with pytest.raises(ValidationError, match="tensor_parallel is for kind 'transformers'"):
        EngineSettings(kind="paged", tensor_parallel=2)


def test_one_device_cannot_be_chosen_for_several_parts() -> None:
    settings = EngineSettings(device="cuda:1", tensor_parallel=2)
    with pytest.raises(ModelUnusable, match="CUDA_VISIBLE_DEVICES"):
        load_parallel(settings)
