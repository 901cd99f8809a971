"""`colm replay`: what is promised to be equal, and what a step that is not looks like."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from colm.db.reads.history import History
from colm.models.engine_settings import EngineSettings
from colm.models.engines.base import Engine, EngineInfo, GenerationRequest
from colm.models.engines.scripted import ScriptedEngine
from colm.models.errors import ModelUnusable
from colm.models.images import examine
from colm.models.messages import Completion, Sampling, Step
from colm.tasks.config.settings import ParticipantSettings
from colm.tasks.images.stores import FolderStore
from colm.workers.audit.replay_steps import Compared, compare, not_promised, replay_steps
from colm.workers.cli import main
from colm.workers.engine_loader import load_engine
from tests.unit.conftest import SetEnvironment
from tests.unit.engines_seeing import picture
from tests.unit.examples import a_completion, a_step
from tests.unit.workers.test_replay_decisions import a_life

FLOAT32 = EngineInfo(
    engine="transformers", model="m", dtype="float32", device="cpu", context_length=None, capacity=1
)
RECORDED = a_completion(engine="transformers", model="m", dtype="float32", device="cpu")
GREEDY = a_step().model_copy(update={"sampling": Sampling(temperature=0.0)})
DRAWN = a_step().model_copy(update={"sampling": Sampling(temperature=0.7, seed=3)})


def info(**changes: str) -> EngineInfo:
    return EngineInfo(**{**FLOAT32.__dict__, **changes})


def test_float32_is_promised_to_be_equal_greedy_or_drawn_with_its_seed() -> None:
    assert not_promised(GREEDY, RECORDED, FLOAT32) is None
    assert not_promised(DRAWN, RECORDED, FLOAT32) is None
    paged = RECORDED.model_copy(update={"engine": "paged"})
    assert not_promised(GREEDY, paged, info(engine="paged")) is None


@pytest.mark.parametrize(
    ("recorded", "now", "why"),
    [
        ({"model": "other"}, {}, "recorded with model other, configured is m"),
        ({"engine": "openai"}, {}, "recorded with engine openai"),
        ({"adapter": "a" * 64}, {}, "recorded with adapter a"),
        ({"dtype": "bfloat16"}, {}, "recorded with dtype bfloat16"),
        ({"device": "cuda:0"}, {}, "recorded with device cuda, configured is cpu"),
        (
            {"dtype": "bfloat16", "batch_size": 3},
            {"dtype": "bfloat16"},
            "can depend on its batch (here of 3)",
        ),
        ({"engine": "openai"}, {"engine": "openai"}, "the engine openai is not reproducible"),
    ],
)
def test_what_is_not_promised_says_why(
    recorded: dict[str, object], now: dict[str, str], why: str
) -> None:
    found = not_promised(GREEDY, RECORDED.model_copy(update=recorded), info(**now))
    assert why in str(found)


def test_draws_are_promised_where_the_generator_is_the_steps_own() -> None:
    unseeded = a_step().model_copy(update={"sampling": Sampling(temperature=0.7)})
    assert "without a seed" in str(not_promised(unseeded, RECORDED, FLOAT32))
    paged = RECORDED.model_copy(update={"engine": "paged"})
    assert "generator" in str(not_promised(DRAWN, paged, info(engine="paged")))
    one = RECORDED.model_copy(update={"device": "cuda:1"})
    assert not_promised(GREEDY, one, info(device="cuda:0")) is None


def test_the_first_difference_is_located() -> None:
    recorded = RECORDED.model_copy(update={"text": "The sky is blue because of Rayleigh."})
    again = RECORDED.model_copy(update={"text": "The sky is blue since it scatters."})
    found = compare(GREEDY, recorded, again, FLOAT32)
    assert (found.result, found.same_characters, found.broken) == ("different", 16, True)
    assert str(found.recorded).endswith("because of Rayleigh.")
    shorter = compare(GREEDY, recorded, recorded.model_copy(update={"text": "The sky"}), FLOAT32)
    assert shorter.same_characters == 7
    cut = recorded.model_copy(update={"finish_reason": "length"})
    assert compare(GREEDY, recorded, cut, FLOAT32).result == "different"
    assert not compare(GREEDY, recorded, again, info(model="x")).broken


def generated(engine: Engine, step: Step) -> Completion:
    asked = GenerationRequest(
        request_id=step.step_id,
        messages=step.messages,
        sampling=step.sampling,
        conversation=f"{step.query_id}.{step.participant}",
    )
    return engine.submit(asked).result()


@pytest.fixture
def history(sqlite_url: str) -> History:
    life = a_life(sqlite_url)
    engine = ScriptedEngine(EngineSettings(kind="scripted", model="none"))

    def reply(step: Step) -> tuple[Completion, float]:
        return generated(engine, step), 1.0

    life.reply = reply
    return life.live()


def configured(**changes: object) -> dict[str, ParticipantSettings]:
    engine = EngineSettings.model_validate({"kind": "scripted", "model": "none", **changes})
    return {name: ParticipantSettings(engine=engine) for name in ("ada", "bo", "main")}


def test_a_recorded_query_is_generated_again_step_by_step(history: History) -> None:
    loaded: list[EngineSettings] = []

    def load(found: EngineSettings) -> ScriptedEngine:
        loaded.append(found)
        return ScriptedEngine(found)

    found = list(replay_steps(history, configured(), load))
    assert [step.result for step in found] == ["equal"] * 5  # two drafts, guidance, two refinements
    assert all(step.why is None for step in found)
    assert len(loaded) == 1


def test_other_replies_models_and_participants_are_told(history: History) -> None:
    other = list(replay_steps(history, configured(reply="otherwise"), ScriptedEngine))
    assert all(step.broken for step in other)
    model = list(replay_steps(history, configured(model="bigger"), ScriptedEngine))
    assert {step.why for step in model} == {"recorded with model none, configured is bigger"}
    alone = {"ada": configured()["ada"]}
    found = {s.step_id: s for s in replay_steps(history, alone, ScriptedEngine)}
    assert found["query-0001.1.draft.bo.0"].why == "no 'bo' is configured here"

    def unusable(_found: EngineSettings) -> ScriptedEngine:
        raise ModelUnusable("no such folder")

    assert {s.result for s in replay_steps(history, configured(), unusable)} == {"not run"}


TOML = """
[clients.ada.engine]
kind = "scripted"
model = "none"
reply = "{reply}"
[clients.bo.engine]
kind = "scripted"
model = "none"
[servers.main.engine]
kind = "scripted"
model = "none"
"""


@pytest.mark.parametrize(("reply", "status"), [("I have read: {last}", 0), ("something else", 1)])
def test_the_command_ends_with_1_where_a_promise_does_not_hold(
    history: History, environment: SetEnvironment, sqlite_url: str, tmp_path: Path,
    reply: str, status: int,
) -> None:  # fmt: skip
    assert history.entries
    (tmp_path / "colm.toml").write_text(TOML.replace("{reply}", reply))
    environment(COLM_DATABASE=sqlite_url, COLM_BROKER="amqp://localhost:1/none")
    done = CliRunner().invoke(main.app, ["replay", "query-0001"])
    assert done.exit_code == status, done.output
    assert "decisions: all" in done.output
    assert "equal  query-0001.1.draft.bo.0" in done.output
    told = json.loads(CliRunner().invoke(main.app, ["replay", "query-0001", "--json"]).stdout)
    assert told["holds"] is (status == 0)
    assert told["decisions"]["difference"] is None
    only = CliRunner().invoke(main.app, ["replay", "query-0001", "--decisions-only"])
    assert only.exit_code == 0
    assert "draft" not in only.output


@pytest.mark.model
def test_the_quickstart_in_float32_says_the_same_again_token_for_token(
    sqlite_url: str, environment: SetEnvironment
) -> None:
    environment(COLM_CACHE=str(Path("~/.cache/colm").expanduser()))
    settings = EngineSettings(dtype="float32", max_num_seqs=4)
    engine = load_engine(settings)
    life = a_life(sqlite_url, options={"rounds": 1, "max_new_tokens": 24, "temperature": 0.0})
    life.reply = lambda step: (generated(engine, step), 1.0)
    recorded = life.live()
    engine.close()
    site = {name: ParticipantSettings(engine=settings) for name in ("ada", "bo", "main")}
    found = list(replay_steps(recorded, site, load_engine))
    assert [step.result for step in found] == ["equal"] * 5
    assert [step.why for step in found] == [None] * 5


def test_a_step_that_was_not_run_breaks_no_promise() -> None:
    assert not Compared(step_id="x", result="not run", why="so").broken


def test_a_step_that_showed_an_image_is_shown_it_again(
    history: History, tmp_path: Path, environment: SetEnvironment
) -> None:
    environment(COLM_HOME=str(tmp_path))
    image = examine(picture(1))
    FolderStore(tmp_path / "images").put(image)
    shown: list[Mapping[str, bytes]] = []

    class Looks(ScriptedEngine):
        def submit(self, request: GenerationRequest) -> Future[Completion]:
            shown.append(request.images)
            return super().submit(request)

    steps = [e for e in history.entries if isinstance(e.what, Step)]
    one = replace(steps[0], what=showing(steps[0].what, image.image_id))
    lost = replace(steps[1], what=showing(steps[1].what, "0" * 64))
    rest = [e for e in history.entries if not isinstance(e.what, Step)]
    seen = replace(history, entries=(one, lost, *rest))
    again, missing = replay_steps(seen, configured(), Looks)
    assert (again.result, shown) == ("equal", [{image.image_id: image.data}])
    assert missing.result == "not run"
    assert "000000000000 is not in" in str(missing.why)


def showing(step: object, *images: str) -> Step:
    assert isinstance(step, Step)
    first = step.messages[0].model_copy(update={"images": images})
    return step.model_copy(update={"messages": (first, *step.messages[1:])})
