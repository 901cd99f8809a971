"""One pool of threads for torch in a process: who loads and tries a model out makes none."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from colm.models.engine_settings import EngineSettings
from colm.models.engines.native.engine import ContinuousEngine
from colm.models.engines.native.torch_threads import single_intraop_pool
from tests.unit.engines_asking import SOON, ask
from tests.unit.engines_tiny import tiny_loaded

#: Counts the threads of its process: before a product of matrices, after one without a pool, and
#: after one of a thread that has its own.
COUNTING = """
import threading
from pathlib import Path
import torch
from colm.models.engines.native.torch_threads import single_intraop_pool

def threads():
    return len(list(Path("/proc/self/task").iterdir()))

def multiply():
    torch.ones(1500, 1500).exp_() @ torch.ones(1500, 1500)

before = threads()
with single_intraop_pool(3):
    multiply()
alone = threads()
later = threading.Thread(target=lambda: (multiply(), print(before, alone, threads())))
later.start()
later.join()
"""


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_threads_are_counted_inside_and_afterwards() -> None:
    torch.set_num_threads(2)

    with single_intraop_pool(3):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3
    with pytest.raises(KeyError), single_intraop_pool():
        raise KeyError
    assert torch.get_num_threads() == 3


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc")
def test_a_pool_is_made_by_the_thread_that_comes_later_alone() -> None:
    told = subprocess.run(
        [sys.executable, "-c", COUNTING], capture_output=True, text=True, check=True, timeout=120
    )

    before, alone, later = map(int, told.stdout.split())
    assert alone == before
    assert later >= before + 3  # itself, and the two that help it


def test_an_engine_tries_its_model_without_a_pool_and_generates_with_one() -> None:
    loaded, seen = tiny_loaded(), set()
    torch.set_num_threads(2)

    def look(*_: Any) -> None:
        seen.add((threading.current_thread().name, torch.get_num_threads()))

    loaded.model.register_forward_pre_hook(look)
    engine = ContinuousEngine(loaded, EngineSettings())
    try:
        engine.submit(ask("one two", new=2)).result(SOON)
    finally:
        engine.close()

    assert seen == {(threading.current_thread().name, 1), ("engine", 2)}
