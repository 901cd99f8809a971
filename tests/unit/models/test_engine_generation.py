"""What of a completion is the answer: no end token, no stop text, no thought."""

from __future__ import annotations

import time

import pytest
from transformers import GenerationConfig

from colm.models.engine_settings import EngineSettings
from colm.models.engines.base import EngineInfo, GenerationRequest
from colm.models.engines.native.sampler import RowSampler, SampledToken
from colm.models.engines.native.sequence import SequenceState
from colm.models.engines.native.tokenizer import ChatTokenizer
from colm.models.engines.native.weights import end_tokens, stop_strings
from colm.models.engines.pending import PendingRequests
from colm.models.engines.scripted import ScriptedEngine
from colm.models.messages import Completion, Sampling, Turn
from tests.unit.models.test_engine_templates import CHATML, tokenizer

INFO = EngineInfo(engine="hand", model="m", dtype="", device="", context_length=None, capacity=1)
MADE = tokenizer(CHATML, ("</s>",), ("<|EOT|>", "<|end|>", "<think>", "</think>"))
READING = ChatTokenizer(MADE)
ENDS = frozenset(READING._tokens("</s><|EOT|>"))


def said(
    *tokens: str, opened: str = "", stops: tuple[str, ...] = (), most: int = 500
) -> Completion:
    """What comes of a model that draws these tokens, or the letters of these texts."""
    request = GenerationRequest(
        request_id="r1",
        messages=(Turn(role="user", content="?"),),
        sampling=Sampling(max_new_tokens=most),
    )
    tickets = PendingRequests()
    generation = SequenceState(
        ticket=tickets.open(request),
        prompt=[1],
        dice=RowSampler(request.sampling),
        decode=READING.decode,
        ends=ENDS,
        turn_ends=frozenset(READING._tokens("<|end|>")),
        opened=opened,
        stops=stops,
    )
    for token in READING._tokens("".join(tokens)):
        generation.append(SampledToken(token=token, logprob=-0.1))
        if generation.finish_reason is not None:
            break
    generation.started = generation.first_token = now = time.monotonic()
    completion = generation.completion(INFO, None, now)
    tickets.finish(generation.ticket, completion, opened=generation.opened)
    return generation.ticket.future.result(0)


@pytest.mark.parametrize("end", ["</s>", "<|EOT|>"])
def test_the_token_that_ends_a_turn_is_no_part_of_the_text(end: str) -> None:
    found = said("42", end, "more")
    assert (found.text, found.finish_reason, found.completion_tokens) == ("42", "stop", 3)


def test_a_thought_may_end_as_a_turn_does() -> None:
    message = "<|channel|>analysis<|message|>so 41?<|end|><|start|>assistant"
    found = said(f"{message}<|channel|>final<|message|>42<|end|>more")
    assert (found.thought, found.text, found.finish_reason) == ("so 41?", "42", "stop")
    assert said("42<|end|>more").text == "42"


def test_a_text_that_nothing_has_ended_is_whole() -> None:
    found = said("42 <think>", most=4)
    assert (found.text, found.finish_reason) == ("42 <think>", "length")


def test_a_stop_text_of_the_model_ends_the_text_before_it() -> None:
    assert said("42\n### Human: why", stops=("### Human:", "why")).text == "42\n"


def test_a_stop_text_does_not_end_a_thought() -> None:
    found = said("<think>so\n\n41?</think>42\n\nmore", stops=("\n\n",))
    assert (found.thought, found.text) == ("so\n\n41?", "42")
    found = said("so\n\n41?</think>\n\n42\n\nmore", stops=("\n\n",), opened="<think>\n")
    assert (found.thought, found.text) == ("so\n\n41?", "42")


def test_the_models_own_end_tokens_and_stop_texts_are_heeded() -> None:
    told = GenerationConfig(  # type: ignore[no-untyped-call] # transformers is untyped
        eos_token_id=[7, 9, -1], stop_strings=["###", "Human:"]
    )
    assert {7, 9} <= end_tokens(told, MADE)
    assert stop_strings(told) == ("###", "Human:")
    told.stop_strings, told.eos_token_id = "###", None
    assert stop_strings(told) == ("###",)
    assert stop_strings(None) == ()


@pytest.mark.parametrize(
    ("text", "opened", "thought", "reason"),
    [
        ("so 41?", "<think>\n", "so 41?", "length"),
        ("<think>so 41?", "", "so 41?", "length"),
        ("<think>so</s>", "", "so", "stop"),
        ("so</think></s>", "<think>\n", "so", "stop"),
    ],
)
def test_a_completion_that_is_only_a_thought_has_no_text(
    text: str, opened: str, thought: str, reason: str
) -> None:
    most = 500 if "</s>" in text else len(READING._tokens(text))
    found = said(text, opened=opened, most=most)
    assert (found.text, found.thought, found.finish_reason) == ("", thought, reason)


def test_every_engine_keeps_thoughts_apart() -> None:
    request = GenerationRequest(
        request_id="r2", messages=(Turn(role="user", content="?"),), sampling=Sampling()
    )
    engine = ScriptedEngine(
        EngineSettings(kind="scripted", reply="<think>so 41?</think>\nThe answer is 42.")
    )
    found = engine.submit(request).result(0)
    assert (found.thought, found.text) == ("so 41?", "The answer is 42.")


def test_a_thought_that_an_endpoint_has_told_apart_is_kept() -> None:
    tickets, completion = PendingRequests(), COMPLETION.model_copy(update={"thought": "first"})
    request = GenerationRequest(request_id="r", messages=(), sampling=Sampling())
    ticket = tickets.open(request)
    tickets.finish(ticket, completion.model_copy(update={"text": "<think>then</think>42"}))
    found = ticket.future.result(0)
    assert (found.thought, found.text) == ("first\n\nthen", "42")


def test_what_is_no_model_s_own_words_is_not_searched_for_thoughts() -> None:
    tickets = PendingRequests()
    ticket = tickets.open(GenerationRequest(request_id="r", messages=(), sampling=Sampling()))
    completion = COMPLETION.model_copy(update={"text": "<think>"})
    tickets.finish(ticket, completion, opened=None)
    assert ticket.future.result(0).text == "<think>"


COMPLETION = said("42</s>")
