"""Generates the steps of a recorded query again and compares them with what is recorded."""

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

#: Characters shown on either side of the first difference.
AROUND = 30


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A step that was generated again."""

    step_id: str
    result: Literal["equal", "different", "not run"]
    #: Why equality is not promised, or why it was not run; None where equality is promised.
    why: str | None
    #: Characters that are equal before the first difference.
    same_characters: int | None = None
    recorded: str | None = None
    replayed: str | None = None

    @property
    def broken(self) -> bool:
        """Whether something was promised that did not hold."""
        return self.result == "different" and self.why is None


def not_promised(step: Step, recorded: Completion, info: EngineInfo) -> str | None:
    """Why the same text is not promised; None where it is.

    Promised is float32, greedy, with the recorded engine, model and kind of device; a draw with a
    seed only by the engine whose generator is its own on every batch; and the scripted engine.
    """
    for name in ("engine", "model", "dtype", "device"):
        was, now = getattr(recorded, name), getattr(info, name)
        if name == "device":  # cuda:1 computes as cuda:0 does
            was, now = was.partition(":")[0], now.partition(":")[0]
        if was != now:
            return f"recorded with {name} {was or 'unknown'}, and configured is {now or 'unknown'}"
    if info.engine == "scripted":
        return None
    if info.engine not in ("transformers", "paged"):
        return f"the engine {info.engine} promises nothing"
    if recorded.dtype != "float32":
        shared = f" (it shared one of {recorded.batch_size})" if recorded.batch_size > 1 else ""
        return f"in {recorded.dtype} a completion can depend on its batch{shared}"
    if step.sampling.temperature > 0 and step.sampling.seed is None:
        return "it was drawn without a seed"
    if step.sampling.temperature > 0 and info.engine != "transformers":
        return f"the engine {info.engine} draws with a generator that is not the step's own"
    return None


def compare(step: Step, recorded: Completion, again: Completion, info: EngineInfo) -> Compared:
    """What a second generation shows, and whether it was promised to be the same."""
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
    """Every step of the query again, one after another, each engine loaded once.

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
        return "no completion of it is recorded"
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
    """The step alone: nothing shares its batch, and nothing is kept from another query."""
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
    found = [entry.what for entry in history.entries if isinstance(entry.what, StepOutcome)]
    return {
        told.step_id: told.outcome.completion
        for told in found
        if told.outcome.completion is not None and told.outcome.status == "completed"
    }
