"""LoRA tuning: exact resume, the cached lower layers, and what the loop learns."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from colm.models.errors import ColmError
from colm.models.tuning.recipe import Recipe, batch, learning_rate, split
from colm.models.tuning.trainer import TokenizedExample, Trainer
from tests.unit.engines_tiny import DRIVEN, tiny_model

EXAMPLES = [
    TokenizedExample(prompt=tuple(range(3, 5 + n % 3)), answer=(30 + n, 40 + n, 1))
    for n in range(12)
]
RECIPE = Recipe(
    rank=4, batch_size=4, max_steps=12, evaluate_every=4, warmup_steps=2, learning_rate=1e-2,
    held_back_share=0.25,
)  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums of several threads are not the same bits twice."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def trainer(family: str = "llama", recipe: Recipe = RECIPE, digest: str = "digest") -> Trainer:
    return Trainer(tiny_model(family), EXAMPLES, recipe, digest)


def weights(tuned: Trainer) -> list[torch.Tensor]:
    return [p.detach().clone() for p in tuned.model.parameters() if p.requires_grad]


def logits(tuned: Trainer) -> torch.Tensor:
    tokens = torch.tensor([[3, 4, 5, 30, 40]])
    with torch.no_grad():
        found: torch.Tensor = tuned.model(input_ids=tokens).logits
    return found


@pytest.mark.parametrize("stop_after", [1, 5, 11])
def test_a_tuning_that_was_stopped_ends_with_the_same_adapter(
    stop_after: int, tmp_path: Path
) -> None:
    whole = trainer()
    list(whole.run())
    first = trainer()
    for _ in itertools.islice(first.run(tmp_path / "state", save_every=1), stop_after):
        pass  # the generator is dropped, as SIGKILL drops a process
    resumed = trainer()
    steps = [progress.step for progress in resumed.run(tmp_path / "state")]
    assert steps == list(range(stop_after, RECIPE.max_steps + 1))[-len(steps) :]
    assert steps[0] <= stop_after + 1
    assert all(
        torch.equal(ours, theirs)
        for ours, theirs in zip(weights(resumed), weights(whole), strict=True)
    )
    assert resumed.losses == whole.losses
    assert resumed.held_back_losses == whole.held_back_losses


def test_a_state_of_another_tuning_is_refused(tmp_path: Path) -> None:
    list(trainer().run(tmp_path / "state"))
    with pytest.raises(ColmError, match="another model, data set or recipe"):
        list(trainer(digest="other").run(tmp_path / "state"))
    (tmp_path / "state").write_bytes(b"nothing")
    with pytest.raises(ColmError, match="is no state of a tuning"):
        list(trainer().run(tmp_path / "state"))


@pytest.mark.parametrize("family", DRIVEN)
def test_cached_lower_layers_change_nothing(family: str) -> None:
    cached, plain = trainer(family), trainer(family)
    plain._splits = False
    losses = [[p.loss for p in tuned.run()] for tuned in (cached, plain)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert torch.allclose(logits(cached), logits(plain), atol=1e-2)


def test_only_upper_layers_are_tuned_and_the_base_is_left_as_it_was() -> None:
    base = {name: p.clone() for name, p in tiny_model().named_parameters()}
    tuned = trainer()
    assert tuned._splits
    list(tuned.run())
    assert {
        name.split(".layers.")[1][0]
        for name, p in tuned.model.named_parameters()
        if p.requires_grad
    } == {"1"}
    after = dict(tuned.model.unload().named_parameters())
    assert base.keys() == after.keys()
    assert all(torch.equal(base[name], after[name]) for name in base)


def test_the_loop_learns_the_answers() -> None:
    recipe = RECIPE.model_copy(
        update={"held_back_share": 0.0, "max_steps": 80, "rank": 8, "frozen_share": 0.0}
    )
    tuned = trainer(recipe=recipe)
    losses = [progress.loss for progress in tuned.run()]
    assert losses[-1] < losses[0] / 4
    assert tuned.trained_weights == sum(w.numel() for w in weights(tuned))


def test_a_tuning_stops_early_and_keeps_its_best_weights() -> None:
    recipe = RECIPE.model_copy(
        update={"max_steps": 400, "evaluate_every": 2, "patience": 2, "learning_rate": 0.3}
    )
    tuned = trainer(recipe=recipe)
    steps = [progress.step for progress in tuned.run()]
    losses = [loss for _, loss in tuned.held_back_losses]
    assert steps[-1] < 400
    assert losses[-2:] == sorted(losses[-2:]) or min(losses) not in losses[-2:]
    assert tuned._evaluate() == pytest.approx(min(losses), rel=1e-4)


def test_what_cannot_be_tuned_is_refused() -> None:
    with pytest.raises(ColmError, match="no example is left"):
        Trainer(tiny_model(), [], RECIPE, "digest")
    with pytest.raises(ColmError, match="name its linear layers"):
        trainer(recipe=RECIPE.model_copy(update={"targets": ("absent",)}))


@given(st.integers(2, 60), st.integers(1, 9), st.integers(0, 5))
def test_every_epoch_has_each_example_once(count: int, size: int, seed: int) -> None:
    recipe = Recipe(batch_size=size, seed=seed, held_back_share=0.2)
    train, held_back = split(count, recipe)
    assert sorted([*train, *held_back]) == list(range(count))
    taken = [n for step in range(len(train)) for n in batch(train, recipe, step)]
    epochs = len(taken) // len(train)
    assert all(sorted(taken[e * len(train) : (e + 1) * len(train)]) == train for e in range(epochs))


def test_the_learning_rate_warms_up_stays_and_falls() -> None:
    recipe = Recipe(max_steps=100, warmup_steps=8, learning_rate=1.0)
    rates = [learning_rate(recipe, step) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 8)
    assert rates[7:50] == [1.0] * 43
    assert rates[75] == pytest.approx(0.5)
    assert min(rates[50:]) == pytest.approx(0.05)
