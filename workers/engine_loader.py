"""Loading of a configured engine, with its model folder and its secrets."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from colm.models.engine_settings import EngineSettings
from colm.models.engines.base import Engine
from colm.tasks.config.settings import prepare_for_torch, secret, settings
from colm.workers.quickstart_model import QUICKSTART, quickstart_folder

logger = logging.getLogger(__name__)


def load_engine(engine_settings: EngineSettings, adapters: Iterable[str] = (), /) -> Engine:
    """Load the engine, with the `adapters` of its participants.

    Raises ModelUnusable or SettingsError.
    """
    prepare_for_torch()
    from colm.models.engines.factory import build_engine

    folder = None
    if engine_settings.local and engine_settings.model == QUICKSTART:
        path = quickstart_folder(settings().cache)
        # The record names the weights, not the alias.
        folder, update = str(path), {"model": path.name}
        engine_settings = engine_settings.model_copy(update=update)
    key, headers = endpoint_secrets(engine_settings)
    started = time.perf_counter()
    engine = build_engine(
        engine_settings,
        model_path=folder,
        api_key=key,
        secret_headers=headers,
        adapters=adapters,
    )
    logger.info("%s ready in %.1f s", engine.info, time.perf_counter() - started)
    return engine


def endpoint_secrets(engine: EngineSettings) -> tuple[str | None, dict[str, str]]:
    """An endpoint's key and its secret headers. Raises SettingsError if a variable is not set."""
    key = secret(engine.api_key_env) if engine.api_key_env else None
    return key, {name: secret(variable) for name, variable in engine.extra_headers_env.items()}
