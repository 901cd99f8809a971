"""A refine prompt goes on where its draft ended, token for token, so that its KV is kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colm.models.engine_settings import EngineSettings
from colm.models.engines.base import GenerationRequest
from colm.models.engines.native.engine import ContinuousEngine
from colm.models.engines.native.prefix_cache import shared_prefix
from colm.models.engines.native.tokenizer import ChatTokenizer
from colm.models.engines.native.weights import load
from colm.models.messages import Participant, Sampling, Turn
from colm.models.prompts import colm
from colm.tasks.config.settings import settings
from colm.workers.quickstart_model import quickstart_folder
from tests.unit.engines_asking import SOON, endless
from tests.unit.engines_tiny import TEMPLATE, tiny_tokenizer

__all__ = ["endless"]  # a fixture

ADA = Participant(
    name="ada",
    role="client",
    persona="You are a careful mathematician.",
    domain="mathematics",
)
QUESTION = "Why is the sum of two odd numbers even?"
_words = st.text(st.sampled_from("abc ,.\n'\"<>XYZ0"), min_size=1, max_size=80)


@given(question=_words, text=_words.filter(str.strip), guidance=_words)
def test_a_refine_prompt_begins_with_its_draft_prompt_and_the_draft(
    question: str, text: str, guidance: str
) -> None:
    tokenizer = ChatTokenizer(tiny_tokenizer())
    drafted = tokenizer.encode(colm.draft(ADA, question))
    answered = [*colm.draft(ADA, question), Turn(role="assistant", content=text)]
    # The template ends the turn, and opens the next one.
    closing = tokenizer.encode([Turn(role="assistant", content="")])[-len("<assistant") - 2 :]

    refined = tokenizer.encode(colm.refine(ADA, question, text, guidance, relevant=True))

    kept = tokenizer.encode(answered)[: -len(closing)]
    assert len(kept) == len(drafted) + len(text)
    assert kept[: len(drafted)] == drafted
    assert refined[: len(kept)] == kept


def test_a_draft_without_its_thought_keeps_what_was_computed_of_the_question() -> None:
    """Its template opens a thought, of which the recorded draft has nothing."""
    opening = "{% if add_generation_prompt %}<|start|>assistant\n<think>\n{% endif %}"
    tokenizer = ChatTokenizer(tiny_tokenizer(TEMPLATE.partition("{% if")[0] + opening))
    drafted = tokenizer.prompt(colm.draft(ADA, QUESTION), {})
    refined = tokenizer.encode(colm.refine(ADA, QUESTION, "Yes.", "Be brief.", relevant=True))

    assert drafted.opened == "<think>\n"
    assert shared_prefix(drafted.tokens, refined) == len(drafted.tokens) - len("<think>\n")


def _request(name: str, messages: tuple[Turn, ...], new: int) -> GenerationRequest:
    return GenerationRequest(
        request_id=name,
        messages=messages,
        sampling=Sampling(max_new_tokens=new, temperature=0.0),
        conversation="q.ada",
    )


def test_what_was_generated_comes_back_as_the_same_tokens(endless: ContinuousEngine) -> None:
    draft = endless.submit(_request("draft", colm.draft(ADA, QUESTION), 40)).result(SOON)
    messages = colm.refine(ADA, QUESTION, draft.text, "Be brief.", relevant=True)

    refined = endless.submit(_request("refine", messages, 8)).result(SOON)

    # All but the draft's last token, which was drawn and never fed back.
    assert refined.cached_tokens == draft.prompt_tokens + draft.completion_tokens - 1
    stats = endless.stats
    assert stats.hit_rate == pytest.approx(refined.cached_tokens / stats.prompt_tokens)
    assert f"{stats.hit_rate:.0%} of them reused" in stats.summary()


@pytest.mark.model
def test_the_quickstart_models_own_drafts_come_back_nearly_whole() -> None:
    """Nearly: a text may be split into other tokens than those it was written in."""
    folder = quickstart_folder(settings().cache)
    engine = ContinuousEngine(
        load(EngineSettings(dtype="float32", device="cpu"), model_path=str(folder)),
        EngineSettings(),
    )
    try:
        draft = engine.submit(_request("draft", colm.draft(ADA, QUESTION), 48)).result(60)
        messages = colm.refine(ADA, QUESTION, draft.text, "Be brief.", relevant=True)
        refined = engine.submit(_request("refine", messages, 4)).result(60)
    finally:
        engine.close()

    assert refined.cached_tokens >= draft.prompt_tokens + draft.completion_tokens // 2
