"""From settings to an engine. Torch is imported here only when the engine needs it."""

from __future__ import annotations

from typing import assert_never

from models.engine_settings import EngineSettings
from models.engines.base import Engine
from models.errors import ModelUnusable


def build_engine(
    settings: EngineSettings, *, model_path: str | None = None, api_key: str | None = None
) -> Engine:
    """The engine that `settings` describe, loaded and ready.

    `model_path` is where the weights of `settings.model` lie when the name alone does not say it
    (the quickstart model). Raises ModelUnusable or SettingsError, saying what to do.
    """
    if settings.local:
        from models.engines.loading import explained

        with explained(model_path or settings.model):
            return _built(settings, model_path, api_key)
    return _built(settings, model_path, api_key)


def _built(settings: EngineSettings, model_path: str | None, api_key: str | None) -> Engine:
    match settings.kind:
        case "scripted":
            from models.engines.scripted import ScriptedEngine

            return ScriptedEngine(settings)
        case "openai":
            from models.engines.openai import OpenAIEngine

            return OpenAIEngine(settings, api_key=api_key)
        case "transformers":
            return _transformers(settings, model_path)
        case "paged":
            from models.engines.loading import load
            from models.engines.paged import PagedEngine

            return PagedEngine(load(settings, model_path=model_path), settings)
        case "openvino":
            return _openvino(settings, model_path)
        case "sandbox":
            from models.engines.sandbox import SandboxEngine

            return SandboxEngine(settings)
        case _:
            assert_never(settings.kind)


def _transformers(settings: EngineSettings, model_path: str | None) -> Engine:
    from models.engines.continuous import ContinuousEngine
    from models.engines.loading import load
    from models.engines.parallel import load_parallel

    read = load_parallel if settings.tensor_parallel > 1 else load
    return ContinuousEngine(read(settings, model_path=model_path), settings)


def _openvino(settings: EngineSettings, model_path: str | None) -> Engine:
    try:
        from models.engines.openvino import OpenVINOEngine
    except ImportError as error:
        raise ModelUnusable(
            f"kind = 'openvino' needs packages that are not installed ({error}):"
            " pip install 'colm[engine,openvino]'"
        ) from error
    return OpenVINOEngine(settings, model_path=model_path)
