"""From settings to an engine. Torch is imported here only when the engine needs it."""

from __future__ import annotations

from typing import assert_never

from models.engine_settings import EngineSettings
from models.engines.base import Engine


def build_engine(
    settings: EngineSettings, *, model_path: str | None = None, api_key: str | None = None
) -> Engine:
    """The engine that `settings` describe, loaded and ready.

    `model_path` is where the weights of `settings.model` lie when the name alone does not say it
    (the quickstart model). Raises ModelUnusable or SettingsError, saying what to do.
    """
    match settings.kind:
        case "scripted":
            from models.engines.scripted import ScriptedEngine

            return ScriptedEngine(settings)
        case "openai":
            from models.engines.openai import OpenAIEngine

            return OpenAIEngine(settings, api_key=api_key)
        case "transformers":
            from models.engines.continuous import ContinuousEngine
            from models.engines.loading import load

            return ContinuousEngine(load(settings, model_path=model_path), settings)
        case "paged":
            from models.engines.loading import load
            from models.engines.paged import PagedEngine

            return PagedEngine(load(settings, model_path=model_path), settings)
        case _:
            assert_never(settings.kind)
