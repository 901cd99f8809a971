"""Generates the steps of a recorded query again and compares the texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

from colm.db.reads.history import History, StepOutcome, TextsErased
from colm.models.engine_settings import EngineSettings
from colm.models.engines.base import Engine, EngineInfo, GenerationRequest
from colm.models.errors import CallerError, EngineError, ImageUnavailable, TransientError
from colm.models.messages import Completion, Step
from colm.tasks.config.settings import ParticipantSettings
from colm.workers.participant.step_images import refetch_step_images

Load = Callable[[EngineSettings], Engine]

#: Characters printed before and after the first difference.
AROUND = 30


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The comparison of one step."""

    step_id: str
    result: Literal["equal", "different", "not run"]
    #: Why equality is not promised, or the step not run; None: equality is promised.
    why: str | None
    #: Equal characters before the first difference.
    same_characters: int | None = None
    recorded: str | None = None
    replayed: str | None = None

    @property
    def broken(self) -> bool:
        """Whether a promised equality does not hold."""
        return self.result == "different" and self.why is None


def not_promised(step: Step, recorded: Completion, info: EngineInfo) -> str | None:
    """Why an equal text is not promised; None if it is.

    Promised are greedy float32 with the recorded engine, model and kind of device, the scripted
    engine, and seeded sampling on an engine whose generator does not depend on the batch.
    """
    for name in ("engine", "model", "dtype", "device", "adapter"):
        was, now = getattr(recorded, name), getattr(info, name)
        if name == "device":  # cuda:1 computes as cuda:0 does
            was, now = was.partition(":")[0], now.partition(":")[0]
        if was != now:
            return f"recorded with {name} {was or 'unknown'}, configured is {now or 'unknown'}"
    if info.engine == "scripted":
        return None
    if info.engine not in ("transformers", "paged"):
        return f"the engine {info.engine} is not reproducible"
    if recorded.dtype != "float32":
        shared = f" (here of {recorded.batch_size})" if recorded.batch_size > 1 else ""
        return f"in {recorded.dtype} a completion can depend on its batch{shared}"
    if step.sampling.temperature > 0 and step.sampling.seed is None:
        return "it was sampled without a seed"
    if step.sampling.temperature > 0 and info.engine != "transformers":
        return f"the engine {info.engine} shares its random generator between steps"
    return None


def compare(step: Step, recorded: Completion, again: Completion, info: EngineInfo) -> Compared:
    """Compares a second generation, and whether equality was promised."""
    pairs = zip(recorded.text, again.text, strict=False)
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    why = not_promised(step, recorded, info)
    if recorded.text == again.text and recorded.finish_reason == again.finish_reason:
        return Compared(step_id=step.step_id, result="equal", why=why)
    start = max(0, same - AROUND)
    return Compared(
        step_id=step.step_id,
        result="different",
        why=why,
        same_characters=same,
        recorded=recorded.text[start : same + AROUND],
        replayed=again.text[start : same + AROUND],
    )


def replay_steps(
    history: History, participants: Mapping[str, ParticipantSettings], load: Load
) -> Iterator[Compared]:
    """Generates every step again, one after another; each engine is loaded once.

    A step without a completion, or without a participant here, is not run.
    """
    erased = any(isinstance(entry.what, TextsErased) for entry in history.entries)
    done = _completions(history)
    steps = [entry.what for entry in history.entries if isinstance(entry.what, Step)]
    by_engine: dict[EngineSettings, list[Step]] = {}
    for step in steps:
        why = _cannot(step, done, participants, erased=erased)
        if why is not None:
            yield Compared(step_id=step.step_id, result="not run", why=why)
        else:
            by_engine.setdefault(participants[step.participant].engine, []).append(step)
    for settings, mine in by_engine.items():
        yield from _on(settings, mine, done, load)


def _cannot(
    step: Step,
    done: Mapping[str, Completion],
    participants: Mapping[str, ParticipantSettings],
    *,
    erased: bool,
) -> str | None:
    if erased:
        return "its texts are erased"
    if step.step_id not in done:
        return "it has no recorded completion"
    if step.participant not in participants:
        return f"no {step.participant!r} is configured here"
    return None


def _on(
    settings: EngineSettings, steps: Sequence[Step], done: Mapping[str, Completion], load: Load
) -> Iterator[Compared]:
    try:
        engine = load(settings)
    except EngineError as error:
        for step in steps:
            why = f"the engine cannot be loaded: {error}"
            yield Compared(step_id=step.step_id, result="not run", why=why)
        return
    try:
        for step in steps:
            yield _again(step, done[step.step_id], engine)
    finally:
        engine.close()


def _again(step: Step, recorded: Completion, engine: Engine) -> Compared:
    """Generates the step alone, without a batch and without cached prefixes."""
    try:
        images = refetch_step_images(step)
    except (ImageUnavailable, TransientError, CallerError) as error:
        return Compared(step_id=step.step_id, result="not run", why=f"its images: {error}")
    request = GenerationRequest(
        request_id=step.step_id,
        messages=step.messages,
        sampling=step.sampling,
        choices=step.choices,
        images=images,
    )
    try:
        again = engine.submit(request).result()
    except EngineError as error:
        why = f"it cannot be generated: {type(error).__name__}: {error}"
        return Compared(step_id=step.step_id, result="not run", why=why)
    return compare(step, recorded, again, engine.info)


def _completions(history: History) -> dict[str, Completion]:
    outcomes = [entry.what for entry in history.entries if isinstance(entry.what, StepOutcome)]
    return {
        outcome.step_id: outcome.outcome.completion
        for outcome in outcomes
        if outcome.outcome.completion is not None and outcome.outcome.status == "completed"
    }
