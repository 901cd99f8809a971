"""A real `colm` command whose scripted engine keeps a journal.

python -m tests.chaos.worker JOURNAL client ada
"""

from __future__ import annotations

import sys
from concurrent.futures import Future
from pathlib import Path

from colm.models.engine_settings import EngineSettings
from colm.models.engines.base import GenerationRequest
from colm.models.engines.scripted import ScriptedEngine
from colm.models.messages import Completion
from colm.workers import engine_loader
from colm.workers.cli.main import main
from tests.chaos.journal import JournalWriter


class JournalEngine(ScriptedEngine):
    """Notes each generation when it begins and when it ends."""

    def __init__(self, settings: EngineSettings, journal: JournalWriter) -> None:
        super().__init__(settings)
        self._journal = journal

    def submit(self, request: GenerationRequest) -> Future[Completion]:
        self._journal.note("began", request.request_id)
        future = super().submit(request)
        future.add_done_callback(lambda done: self._ended(request.request_id, done))
        return future

    def _ended(self, step_id: str, future: Future[Completion]) -> None:
        if future.cancelled() or future.exception() is not None:
            self._journal.note("ended", step_id)
        else:
            completion = future.result()
            tokens = completion.prompt_tokens + completion.completion_tokens
            self._journal.note("done", step_id, tokens)


if __name__ == "__main__":
    writer = JournalWriter(Path(sys.argv.pop(1)))
    engine_loader.load_engine = lambda settings, _adapters=(): JournalEngine(settings, writer)
    main()
