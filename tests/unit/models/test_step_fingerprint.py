"""Equal content means equal completions, and nothing that matters for one is left out."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from colm.models.messages import Sampling, Turn
from colm.models.step_fingerprint import content_key
from tests.unit.examples import NOW, a_step

STEP = a_step()


@pytest.mark.parametrize(
    "change",
    [
        {"query_id": "query-0002"},
        {"round": 2},
        {"act": "plan"},
        {"index": 3},
        {"prompt_version": "other"},
        {"deadline_at": NOW + timedelta(hours=1)},
        {"lane": "overnight"},
        {"alone": True},
    ],
)
def test_where_and_when_it_is_asked_does_not_matter(change: dict[str, Any]) -> None:
    assert content_key(STEP.model_copy(update=change)) == content_key(STEP)


@pytest.mark.parametrize(
    "change",
    [
        {"participant": "bo"},
        {"role": "server"},
        {"messages": (Turn(role="system", content=STEP.messages[0].content),)},
        {"messages": (*STEP.messages, Turn(role="user", content="And?"))},
        {"messages": (STEP.messages[0].model_copy(update={"images": ("a" * 64,)}),)},
        {"sampling": Sampling(seed=2)},
        {"sampling": Sampling(seed=1, temperature=0.1)},
        {"sampling": Sampling(seed=1, max_new_tokens=7)},
        {"sampling": Sampling(seed=1, stop=("a",))},
        {"choices": ("A", "B")},
    ],
)
def test_whatever_decides_the_completion_matters(change: dict[str, Any]) -> None:
    assert content_key(STEP.model_copy(update=change)) != content_key(STEP)


def test_the_adapter_matters() -> None:
    keys = {content_key(STEP, adapter) for adapter in (None, "a" * 64, "b" * 64)}
    assert len(keys) == 3


def test_where_turns_end_matters() -> None:
    one = (Turn(role="user", content="ab"), Turn(role="user", content="c"))
    other = (Turn(role="user", content="a"), Turn(role="user", content="bc"))
    first, second = (STEP.model_copy(update={"messages": m}) for m in (one, other))
    assert content_key(first) != content_key(second)


def test_a_draw_that_cannot_be_repeated_is_shared_with_nothing() -> None:
    free = Sampling(temperature=0.7, seed=None)
    first, second = (
        a_step(query_id=f"query-000{n}").model_copy(update={"sampling": free}) for n in (1, 2)
    )
    assert content_key(first) != content_key(second)
    greedy = {"sampling": Sampling(temperature=0, seed=None)}
    assert content_key(first.model_copy(update=greedy)) == content_key(
        second.model_copy(update=greedy)
    )
