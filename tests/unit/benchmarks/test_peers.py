"""The peers do the same work as CoLM: the same prompts, as many calls, as many tokens."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.harness.endless_weights import NEVER_DRAWN, endless_weights
from benchmarks.harness.report import Report
from benchmarks.peers.compare import SYSTEMS, fill, site_file
from benchmarks.peers.loops import StaticModel, load_per_round, reference_script
from benchmarks.peers.work import PERSONAS, QUESTIONS, Call, Question, Tally, Work, query
from colm.models.messages import Sampling, Turn, derive_seed
from colm.models.roster import Roster
from colm.tasks.config.settings import load
from tests.unit.examples import SERVER, a_client, a_query
from tests.unit.simulation import Reply, play

CLIENTS = ("ada", "bo", "cy", "di")


def a_work(*questions: Question, rounds: int = 2) -> Work:
    roster = Roster(
        clients={name: a_client(name) for name in CLIENTS}, servers={SERVER.name: SERVER}
    )
    return Work(questions=questions, roster=roster, select=2, rounds=rounds)


def reply_to(messages: Sequence[Turn], selection: str) -> str:
    """A text that tells one prompt from another; names where names are asked for."""
    if messages[-1].content.endswith("advisers who can answer it best."):
        return selection
    return f"reply {derive_seed(*(turn.content for turn in messages))}"


def asked_by_peers(question: str, selection: str) -> list[tuple[Turn, ...]]:
    asking = query(a_work(), Question(question, 5))
    calls, found, answers = next(asking), [], {}
    while calls:
        found += [call.messages for call in calls]
        assert {call.tokens for call in calls} == {5}
        try:
            calls = asking.send([reply_to(call.messages, selection) for call in calls])
        except StopIteration as ended:
            calls, answers = [], ended.value
    assert set(answers) == set(CLIENTS)
    return found


@pytest.mark.parametrize(
    ("selection", "calls"), [("cy, bo", 13), ("only di", 12), ("nobody", 15), ("ada bo cy", 13)]
)
def test_the_peers_ask_what_the_strategy_asks(selection: str, calls: int) -> None:
    asked = a_query(*CLIENTS, options={"rounds": 2, "select": 2})
    game = play(asked, lambda step: Reply(text=reply_to(step.messages, selection)))
    found = asked_by_peers(asked.question, selection)
    assert found == [step.messages for step in game.asked]
    assert len(found) == calls


class CountingModel(StaticModel):
    """Generates nothing, and counts."""

    def __init__(self) -> None:
        self.loads = 0
        self.loaded = False
        self.batches: list[int] = []

    def load(self) -> None:
        self.loads += 1
        self.loaded = True

    def drop(self) -> None:
        self.loaded = False

    def generate(self, calls: Sequence[Call], tally: Tally) -> list[str]:
        assert self.loaded
        self.batches.append(len(calls))
        tally.calls += len(calls)
        tally.completion_tokens += sum(call.tokens for call in calls)
        return [reply_to(call.messages, "cy, bo") for call in calls]


def test_the_script_calls_one_by_one_and_the_kit_in_batches_with_a_load_for_each_stage() -> None:
    work = a_work(Question("Why?", 5), Question("How?", 7))
    script, kit = CountingModel(), CountingModel()
    one, other = reference_script(work, script), load_per_round(work, kit, batch=3)
    assert (one.calls, one.completion_tokens) == (26, 13 * 5 + 13 * 7)
    assert (other.calls, other.completion_tokens) == (one.calls, one.completion_tokens)
    assert one.answers == other.answers
    assert script.loads == 1
    assert set(script.batches) == {1}
    # select, draft, and twice synthesize and refine
    assert kit.loads == other.loads == 6
    assert kit.batches == [2, 3, 1, 2, 3, 3, 2, 2, 3, 3, 2]


def test_ratios_are_taken_repeat_by_repeat_and_by_the_token() -> None:
    def runs(*seconds: float, tokens: int = 100) -> list[Tally]:
        return [Tally(seconds=s, completion_tokens=tokens, loads=6) for s in seconds]

    report = Report("peers", settings={})
    systems = (runs(40, 80), runs(20, 40, tokens=200), runs(10, 10))
    fill(report, dict(zip(SYSTEMS, systems, strict=True)))
    ratios = report.document()["ratios"]
    assert ratios == {"vs_reference_script": 6.0, "vs_load_per_round": 1.5}


def test_the_site_has_the_personas_on_the_weights_that_the_peers_use(tmp_path: Path) -> None:
    path = tmp_path / "colm.toml"
    path.write_text(site_file(tmp_path, batch=16))
    found = load({"COLM_CONFIG": str(path)}, tmp_path)
    assert {n: (c.persona, c.domain) for n, c in found.clients.items()} == PERSONAS
    engines = {p.engine for p in (*found.clients.values(), *found.servers.values())}
    assert [(e.model, e.max_num_seqs) for e in engines] == [(str(tmp_path), 16)]


def test_a_question_can_be_asked_with_its_length() -> None:
    assert all(Sampling(max_new_tokens=question.tokens) for question in QUESTIONS)


def test_endless_weights_are_the_model_with_another_end_of_turn(tmp_path: Path) -> None:
    source = tmp_path / "models" / "SmolLM2-135M-Instruct"
    source.mkdir(parents=True)
    tokens = [{"id": 2, "content": "<|im_end|>"}, {"id": 16, "content": NEVER_DRAWN}]
    texts = {
        "tokenizer.json": {"added_tokens": tokens},
        "tokenizer_config.json": {"eos_token": "<|im_end|>", "pad_token": "<|im_end|>"},
        "config.json": {"eos_token_id": 2, "hidden_size": 576},
        "generation_config.json": {"eos_token_id": 2},
        "model.safetensors": {},
    }
    for name, content in texts.items():
        (source / name).write_text(json.dumps(content))
    with endless_weights(tmp_path) as folder:
        found = {path.name: json.loads(path.read_text()) for path in folder.iterdir()}
        assert (folder / "model.safetensors").is_symlink()
    assert found["tokenizer_config.json"] == {"eos_token": NEVER_DRAWN, "pad_token": "<|im_end|>"}
    assert found["config.json"] == {"eos_token_id": 16, "hidden_size": 576}
    assert found["generation_config.json"] == {"eos_token_id": 16}
    assert json.loads((source / "config.json").read_text())["eos_token_id"] == 2
