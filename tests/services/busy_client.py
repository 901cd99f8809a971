"""`colm client NAMES` whose engine holds the interpreter while it generates, as a real process."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from concurrent.futures import Future

from colm.models.engine_settings import EngineSettings
from colm.models.engines.base import GenerationRequest
from colm.models.engines.scripted import ScriptedEngine
from colm.models.messages import Completion
from colm.workers import engine_loader
from colm.workers.participant import process


class BusyEngine(ScriptedEngine):
    """Computes in Python, on a thread of its own, for as long as a reply takes."""

    def submit(self, request: GenerationRequest) -> Future[Completion]:
        future = super().submit(request)
        threading.Thread(target=_spin_until, args=[future], daemon=True).start()
        return future


def _spin_until(future: Future[Completion]) -> None:
    while not future.done():
        sum(range(100_000))


def _load_busy(engine_settings: EngineSettings, _adapters: Iterable[str] = ()) -> BusyEngine:
    return BusyEngine(engine_settings)


if __name__ == "__main__":
    engine_loader.load_engine = _load_busy
    sys.exit(process.run_clients(sys.argv[1:], None))
