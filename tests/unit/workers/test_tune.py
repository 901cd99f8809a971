"""`colm tune` from a data set to an adapter that peft loads."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors import safe_open
from typer.testing import CliRunner

from colm.models.adapters import BASE_KEY, WEIGHTS_FILE, base_sha256, digest_of_folder
from colm.models.messages import Participant
from colm.models.tuning.examples import Question, draft_examples, made_questions, note_examples
from colm.workers.cli.main import app
from tests.unit.conftest import SetEnvironment
from tests.unit.engines_tiny import tiny_model, tiny_tokenizer

CLIENT = Participant(name="ada", role="client", domain="doors")
QUESTIONS = [Question(question=f"Colour of door {n}?", answer=c) for n, c in enumerate("rgbyrg")]


@pytest.fixture
def folder(tmp_path: Path, environment: SetEnvironment) -> Iterator[Path]:
    """A site with one client on a tiny model, and its data."""
    model = tmp_path / "model"
    tiny_model().save_pretrained(model)
    tiny_tokenizer().save_pretrained(model)
    rows = [{"question": f"Colour of door {n}?", "answer": "rgby"[n % 4]} for n in range(40)]
    (tmp_path / "doors.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "colm.toml").write_text(
        f'[clients.ada]\ndomain = "doors"\n[clients.ada.engine]\nmodel = "{model}"\n'
        'dtype = "float32"\nthreads = 1\n'
        '[clients.bo.engine]\nkind = "scripted"\n'
    )
    environment(COLM_CONFIG=str(tmp_path / "colm.toml"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tmp_path
    torch.set_num_threads(threads)


def colm(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_data_set_becomes_an_adapter_with_its_origin(folder: Path) -> None:
    out = folder / "adapter"
    report = json.loads(
        colm("tune", "ada", "--data", str(folder / "doors.jsonl"), "--adapter", str(out), "--notes",
             "--steps", "6", "--batch-size", "4", "--rank", "4", "--seed", "3", "--json")
    )  # fmt: skip
    assert report["sha256"] == digest_of_folder(out)
    assert report["steps"] == 6
    assert report["before"]["n"] == report["after"]["n"] == 4
    with safe_open(out / WEIGHTS_FILE, framework="pt") as file:
        metadata = file.metadata()
    assert metadata[BASE_KEY] == base_sha256(folder / "model")
    origin = json.loads(metadata["colm.origin"])
    assert origin["participant"] == "ada"
    assert origin["recipe"]["rank"] == 4
    assert origin["recipe"]["seed"] == 3
    assert origin["score"]["after"]["n"] == 4
    assert origin["data"]["examples"] == 40
    assert str(folder) not in metadata["colm.origin"]
    assert (out / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert not list(folder.glob("*.state"))
    with warnings.catch_warnings():  # peft reads a property that transformers will rename
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        loaded = PeftModel.from_pretrained(tiny_model(), out)
    assert sum("lora_B" in n and bool(p.any()) for n, p in loaded.named_parameters()) == 7


def test_people_read_the_score_and_how_to_serve_the_adapter(folder: Path) -> None:
    printed = colm("tune", "ada", "--data", str(folder / "doors.jsonl"), "--steps", "2")
    adapter = folder / "home" / "adapters" / "ada"
    assert "after: " in printed
    assert f'adapter = "{adapter}" in [clients.ada.engine]' in printed


def test_the_same_seed_gives_the_same_adapter(folder: Path) -> None:
    digests = {
        json.loads(
            colm("tune", "ada", "--data", str(folder / "doors.jsonl"), "--adapter",
                 str(folder / name), "--steps", "3", "--batch-size", "2", "--json")
        )["sha256"]
        for name in ("first", "second")
    }  # fmt: skip
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("name", "rows", "told"),
    [
        ("adda", 40, "did you mean 'ada'"),
        ("bo", 40, "kind 'transformers'"),
        ("ada", 2, "needs at least 4"),
    ],
)
def test_what_cannot_be_tuned_is_refused(folder: Path, name: str, rows: int, told: str) -> None:
    data = folder / "part.jsonl"
    data.write_text("\n".join((folder / "doors.jsonl").read_text().splitlines()[:rows]))
    with pytest.raises(Exception, match=told):
        colm("tune", name, "--data", str(data))


def test_note_examples_teach_when_to_take_a_note() -> None:
    examples = note_examples(CLIENT, QUESTIONS * 20, seed=1)
    texts = ["\n".join(turn.content for turn in example.turns) for example in examples]
    in_field = [e for e, text in zip(examples, texts, strict=True) if "Colour of door" in text]
    right = [
        e for e in in_field if f"The answer is {e.answer}" in "\n".join(t.content for t in e.turns)
    ]
    assert len(in_field) == len(examples) / 2
    assert 0.4 < len(right) / len(in_field) < 0.8
    outside = [(e, t) for e, t in zip(examples, texts, strict=True) if "Colour of door" not in t]
    assert all(f"The answer is {example.answer}" in text for example, text in outside)
    assert note_examples(CLIENT, QUESTIONS, seed=1) == note_examples(CLIENT, QUESTIONS, seed=1)


def test_draft_examples_are_the_prompts_of_a_query() -> None:
    example, *_ = draft_examples(CLIENT, QUESTIONS)
    assert "Your field: doors." in example.turns[0].content
    assert example.turns[-1].content.startswith("Colour of door 0?")
    assert example.answer == "r"
    assert len({q.question for q in made_questions(50, seed=2)}) > 45
    assert made_questions(5, seed=2) == made_questions(5, seed=2)
