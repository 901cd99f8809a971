"""Guessing ahead makes completions come sooner, and never other ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colm.models.engine_settings import EngineSettings
from colm.models.engines.native.engine import ContinuousEngine
from colm.models.engines.native.prompt_lookup import NGRAM, Lookup
from colm.models.messages import Completion, Sampling
from tests.unit.engines_asking import SOON, ask, expect_generated
from tests.unit.engines_tiny import tiny_loaded

_tokens = st.lists(st.integers(0, 3), max_size=40)


@given(prompt=_tokens, drawn=_tokens, most=st.integers(0, 8))
def test_a_guess_is_what_followed_the_same_tokens_last(
    prompt: list[int], drawn: list[int], most: int
) -> None:
    lookup = Lookup(prompt)
    lookup.extend(drawn)

    guess = lookup.propose(most)

    tokens, key = prompt + drawn, (prompt + drawn)[-NGRAM:]
    ends = [
        end
        for end in range(NGRAM, len(tokens))
        if len(key) == NGRAM and tokens[end - NGRAM : end] == key
    ]
    assert guess == (tokens[ends[-1] : ends[-1] + most] if ends else [])


def test_who_guesses_badly_rests_and_tries_again() -> None:
    lookup = Lookup([1, 2, 3, 4, 1, 2, 3])
    for _ in range(8):
        lookup.record_acceptance(4, 0)

    guesses = [lookup.propose(2) for _ in range(50)]

    assert guesses[0] == []
    assert [4, 1] in guesses


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guess at every token, wrong as most guesses then are: random weights repeat nothing long."""
    monkeypatch.setattr("colm.models.engines.native.prompt_lookup.NGRAM", 1)
    monkeypatch.setattr("colm.models.engines.native.prompt_lookup._WORTH", -1.0)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_completions_are_the_same_with_and_without_guesses(temperature: float) -> None:
    texts = ["abcabcabcabc", "What is blue? What is blue?", "x", "One. Two. One. Two."]
    found: list[list[Completion]] = []
    for num_speculative_tokens in (0, 6):
        engine = ContinuousEngine(
            tiny_loaded(),
            EngineSettings(max_num_seqs=3, num_speculative_tokens=num_speculative_tokens),
        )
        dice = [
            Sampling(max_new_tokens=120, temperature=temperature, top_p=0.9, seed=seed)
            for seed in range(len(texts))
        ]
        futures = [
            engine.submit(ask(text, sampling=die)) for text, die in zip(texts, dice, strict=True)
        ]
        found.append([future.result(SOON) for future in futures])
        stats = engine.stats
        engine.close()

    assert [one.text for one in found[0]] == [one.text for one in found[1]]
    assert [one.finish_reason for one in found[0]] == [one.finish_reason for one in found[1]]
    assert 0 < stats.right_guesses < stats.guessed_tokens
    assert stats.completion_tokens == sum(one.completion_tokens for one in found[1])


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("family", ["qwen2", "mistral", "gemma3"])
def test_guesses_keep_to_a_sliding_window(family: str) -> None:
    engine = ContinuousEngine(
        tiny_loaded(family), EngineSettings(max_num_seqs=4, num_speculative_tokens=5)
    )
    texts = ["abcabcabcabcabc", "Tell me more. Tell me more.", "aaaaaaaaaaaaaaaa"]

    futures = [engine.submit(ask(text, new=60)) for text in texts]

    for text, future in zip(texts, futures, strict=True):
        expect_generated(family, (text,), 60, future.result(SOON))
    engine.close()
