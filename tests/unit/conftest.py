"""Settings of a test's own, and how long hypothesis looks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from colm.tasks.broker import sending
from colm.tasks.broker.publish import topology
from colm.tasks.config.settings import settings

# No deadline for an example: a loaded machine is slow now and then.
hypothesis.settings.register_profile("unit", max_examples=60, deadline=None, database=None)
hypothesis.settings.load_profile("unit")

SetEnvironment = Callable[..., None]


@pytest.fixture
def reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers connect to no broker before they publish."""
    monkeypatch.setattr(sending, "connect", lambda _producer: True)


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SetEnvironment]:
    """Call it with COLM_* variables: this process's settings are then those and no others."""

    def set_to(**variables: str) -> None:
        for name in [name for name in os.environ if name.startswith("COLM_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
        for name, value in {"COLM_HOME": str(tmp_path / "home"), **variables}.items():
            monkeypatch.setenv(name, value)
        forget()

    def forget() -> None:
        settings.cache_clear()
        topology.cache_clear()

    monkeypatch.chdir(tmp_path)  # away from any colm.toml
    set_to()
    yield set_to
    forget()
