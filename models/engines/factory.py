"""From settings to an engine. Torch is imported here only when the engine needs it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import assert_never

from colm.models.engine_settings import EngineSettings
from colm.models.engines.base import Engine
from colm.models.errors import ModelUnusable


def build_engine(
    settings: EngineSettings,
    *,
    model_path: str | None = None,
    api_key: str | None = None,
    secret_headers: Mapping[str, str] | None = None,
    adapters: Iterable[str] = (),
) -> Engine:
    """The engine that `settings` describe, loaded and ready.

    `model_path` is where the weights of `settings.model` lie when the name alone does not say it
    (the quickstart model). `adapters`: folders that requests will name; those of a local engine are
    checked now. Raises ModelUnusable or SettingsError, saying what to do.
    """
    if settings.local:
        from colm.models.engines.native.weights import explained

        with explained(model_path or settings.model):
            return _built(settings, model_path, api_key, secret_headers, adapters)
    return _built(settings, model_path, api_key, secret_headers, adapters)


def _built(
    settings: EngineSettings,
    model_path: str | None,
    api_key: str | None,
    secret_headers: Mapping[str, str] | None,
    adapters: Iterable[str],
) -> Engine:
    match settings.kind:
        case "scripted":
            from colm.models.engines.scripted import ScriptedEngine

            return ScriptedEngine(settings)
        case "openai":
            from colm.models.engines.openai.engine import OpenAIEngine

            return OpenAIEngine(settings, api_key=api_key, secret_headers=secret_headers)
        case "transformers":
            return _transformers(settings, model_path, adapters)
        case "paged":
            from colm.models.engines.libraries.paged import PagedEngine
            from colm.models.engines.native.weights import load

            return PagedEngine(load(settings, model_path=model_path), settings)
        case "openvino":
            return _openvino(settings, model_path)
        case "sandbox":
            from colm.models.engines.sandbox import SandboxEngine

            return SandboxEngine(settings)
        case _:
            assert_never(settings.kind)


def _transformers(
    settings: EngineSettings, model_path: str | None, adapters: Iterable[str]
) -> Engine:
    from colm.models.engines.native.engine import ContinuousEngine
    from colm.models.engines.native.tensor_parallel import load_parallel
    from colm.models.engines.native.weights import load

    read = load_parallel if settings.tensor_parallel > 1 else load
    return ContinuousEngine(read(settings, model_path=model_path), settings, adapters=adapters)


def _openvino(settings: EngineSettings, model_path: str | None) -> Engine:
    try:
        from colm.models.engines.libraries.openvino import OpenVINOEngine
    except ImportError as error:
        raise ModelUnusable(
            f"kind = 'openvino' needs packages that are not installed ({error}):"
            " pip install 'colm[engine,openvino]'"
        ) from error
    return OpenVINOEngine(settings, model_path=model_path)
