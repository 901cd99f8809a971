"""This machine: room on its disks, its clock against another's, and the models it is to load."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from colm.models.engine_settings import EngineSettings
from colm.models.errors import ColmError
from colm.models.messages import Deadlines
from colm.models.naming import list_names
from colm.tasks.config.settings import ParticipantSettings, Settings
from colm.workers.doctor.endpoint import look_at_endpoint
from colm.workers.doctor.findings import Finding, Findings, ok, problem, warning
from colm.workers.participant.quickstart_model import QUICKSTART

GIB = 2**30
#: Free room below which a disk is a worry, and below which it is a problem (bytes).
LITTLE_ROOM, NO_ROOM = 2 * GIB, GIB // 5
#: A difference between clocks that nobody minds (seconds).
SAME_TIME = 1.0
#: The share of the shortest deadline that a wrong clock may take.
DEADLINE_SHARE = 0.1


def disks(found: Settings) -> Findings:
    """Room where the stack keeps its files and where models are kept."""
    for name, folder in (("home", found.home), ("cache", found.cache)):
        there = next(path for path in (folder, *folder.parents) if path.exists())
        yield room(name, folder, shutil.disk_usage(there).free)


def room(name: str, folder: Path, free: int) -> Finding:
    """What `free` bytes at `folder` mean."""
    told = f"{free / GIB:.1f} GiB free at {folder}"
    if free < NO_ROOM:
        return problem(f"disk for {name}", told, f"make room, or set {name!r} to another folder")
    if free < LITTLE_ROOM:
        return warning(f"disk for {name}", told, f"make room, or set {name!r} to another folder")
    return ok(f"disk for {name}", told)


def clock(whose: str, skew: float, within: float, deadlines: Deadlines) -> Finding:
    """What it means that this machine's clock is `skew` seconds ahead, give or take `within`.

    Deadlines are moments by the coordinator's clock: a participant that is ahead takes what is
    fresh for expired, one that is behind works on what nobody waits for.
    """
    about = f"clock against the {whose}'s"
    told = f"{abs(skew):.1f} s {'ahead' if skew > 0 else 'behind'}, measured to {within:.1f} s"
    shortest = min(deadlines.model_dump().values())
    if abs(skew) - within > max(SAME_TIME, DEADLINE_SHARE * shortest):
        return problem(
            about, told, f"run NTP (chrony) on both; the shortest deadline is {shortest:g} s"
        )
    if abs(skew) - within > SAME_TIME:
        return warning(about, told, "run NTP (chrony) on both: deadlines are moments in time")
    return ok(about, told)


def models(found: Settings, names: Mapping[str, ParticipantSettings], *, load: bool) -> Findings:
    """Whether the engine of each participant can be had on this machine; each engine once."""
    engines: dict[EngineSettings, list[str]] = {}
    for name, participant in names.items():
        engines.setdefault(participant.engine, []).append(name)
    for engine, served in engines.items():
        about = f"model of {list_names(served)}"
        loads = load and engine.kind != "openai"
        yield _loaded(about, engine) if loads else look_at_model(about, engine, found.cache)


def look_at_model(about: str, engine: EngineSettings, cache: Path) -> Finding:
    """Whether the engine's files or endpoint are there, without loading anything."""
    if engine.kind == "openai":
        return look_at_endpoint(about, engine)
    if not engine.local:
        return ok(about, f"{engine.kind}: nothing to load")
    if engine.model == QUICKSTART:
        there = (cache / "models").is_dir()
        told = "is there" if there else "is fetched at the first start (98 MB)"
        return ok(about, f"the quickstart model {told}")
    path = Path(engine.model).expanduser()
    if path.is_dir() and not any(path.glob("*.json")):
        do = "name the folder that holds the weights and config.json"
        return problem(about, f"{path} holds no model", do)
    if path.exists():
        return ok(about, f"{path} is there (--models loads it)")
    if path.is_absolute() or path.suffix.lower() == ".gguf" or engine.model.startswith((".", "~")):
        return warning(about, f"{path} is not on this machine", "needed where the engine runs only")
    return ok(about, f"{engine.model} is looked for at the hub (--models loads it)")


def _loaded(about: str, engine: EngineSettings) -> Finding:
    from colm.workers.participant.process import load_engine

    started = time.monotonic()
    try:
        found = load_engine(engine)
    except (ColmError, OSError) as error:
        do = "correct its engine table in colm.toml; needed where the engine runs only"
        return problem(about, str(error), do)
    seconds, told = time.monotonic() - started, f"{found.info}"
    found.close()
    return ok(about, f"loaded in {seconds:.1f} s: {told}")
