"""This machine: free disk space, clock, models."""

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
from colm.workers.doctor.findings import Finding, Findings, ok, problem, warning
from colm.workers.quickstart_model import QUICKSTART

GIB = 2**30
#: Free space below which a disk is a warning, and a problem (bytes).
LITTLE_ROOM, NO_ROOM = 2 * GIB, GIB // 5
#: An acceptable clock difference (seconds).
SAME_TIME = 1.0
#: The largest clock difference, as a share of the shortest deadline.
DEADLINE_SHARE = 0.1


def disks(config: Settings) -> Findings:
    """Free space in `home` and `cache`."""
    for name, folder in (("home", config.home), ("cache", config.cache)):
        there = next(path for path in (folder, *folder.parents) if path.exists())
        yield room(name, folder, shutil.disk_usage(there).free)


def room(name: str, folder: Path, free: int) -> Finding:
    """The finding for `free` bytes at `folder`."""
    detail = f"{free / GIB:.1f} GiB free at {folder}"
    if free < NO_ROOM:
        return problem(f"disk for {name}", detail, f"free space, or set {name!r} to another folder")
    if free < LITTLE_ROOM:
        return warning(f"disk for {name}", detail, f"free space, or set {name!r} to another folder")
    return ok(f"disk for {name}", detail)


def clock(whose: str, skew: float, within: float, deadlines: Deadlines) -> Finding:
    """The finding for a clock that is `skew` seconds ahead, measured to `within` seconds.

    Deadlines are times of the coordinator's clock. A participant whose clock is ahead treats fresh
    steps as expired; one that is behind works on expired ones.
    """
    about = f"clock against the {whose}'s"
    detail = f"{abs(skew):.1f} s {'ahead' if skew > 0 else 'behind'}, measured to {within:.1f} s"
    shortest = min(deadlines.model_dump().values())
    if abs(skew) - within > max(SAME_TIME, DEADLINE_SHARE * shortest):
        return problem(
            about, detail, f"run NTP (chrony) on both; the shortest deadline is {shortest:g} s"
        )
    if abs(skew) - within > SAME_TIME:
        return warning(about, detail, "run NTP (chrony) on both: deadlines are absolute times")
    return ok(about, detail)


def models(config: Settings, names: Mapping[str, ParticipantSettings], *, load: bool) -> Findings:
    """Whether each engine is available on this machine; equal engines are checked once."""
    engines: dict[EngineSettings, list[str]] = {}
    for name, participant in names.items():
        engines.setdefault(participant.engine, []).append(name)
    for engine, served in engines.items():
        about = f"model of {list_names(served)}"
        loads = load and engine.kind != "openai"
        yield _loaded(about, engine) if loads else look_at_model(about, engine, config.cache)


def look_at_model(about: str, engine: EngineSettings, cache: Path) -> Finding:
    """Whether the engine's files or endpoint exist, without loading a model."""
    if engine.kind == "openai":
        from colm.workers.doctor.endpoint import look_at_endpoint  # loads httpx

        return look_at_endpoint(about, engine)
    if not engine.local:
        return ok(about, f"{engine.kind}: nothing to load")
    if engine.model == QUICKSTART:
        there = (cache / "models").is_dir()
        state = "is cached" if there else "is downloaded at the first start (98 MB)"
        return ok(about, f"the quickstart model {state}")
    path = Path(engine.model).expanduser()
    if path.is_dir() and not any(path.glob("*.json")):
        do = "set model to the folder of the weights and config.json"
        return problem(about, f"{path} contains no model", do)
    if path.exists():
        return ok(about, f"{path} exists (--models loads it)")
    if path.is_absolute() or path.suffix.lower() == ".gguf" or engine.model.startswith((".", "~")):
        return warning(about, f"{path} is not on this machine", "needed only where the engine runs")
    return ok(about, f"{engine.model} is loaded from the hub (--models loads it)")


def _loaded(about: str, engine: EngineSettings) -> Finding:
    from colm.workers.engine_loader import load_engine

    started = time.monotonic()
    try:
        loaded = load_engine(engine)
    except (ColmError, OSError) as error:
        do = "correct its engine table in colm.toml; needed only where the engine runs"
        return problem(about, str(error), do)
    seconds, info = time.monotonic() - started, f"{loaded.info}"
    loaded.close()
    return ok(about, f"loaded in {seconds:.1f} s: {info}")
