"""What the engines of a site began and finished, one line each, from all processes in one file.

A line is appended by one `write`, so that it survives a SIGKILL of its writer, and lines of several
processes never mix.
"""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path


class JournalWriter:
    """Appends to the journal of a site, for one engine process."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def note(self, what: str, step_id: str, tokens: int = 0) -> None:
        """`what` is "began", "done" (with its tokens) or "ended" (without a completion)."""
        line = json.dumps([what, os.getpid(), step_id, tokens])
        os.write(self._file, f"{line}\n".encode())


@dataclass
class Journal:
    """The generations so far, as of the last `refresh`."""

    path: Path
    #: How often each step was begun.
    begun: Counter[str] = field(default_factory=Counter)
    #: Prompt and completion tokens of the steps that some process finished.
    tokens: dict[str, int] = field(default_factory=dict)
    #: Generations that each participant finished, also of steps that had been finished before.
    finished: Counter[str] = field(default_factory=Counter)
    #: The steps that each process has begun and not ended, by its number.
    running: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    _read: int = 0

    def refresh(self) -> Journal:
        """Read what was appended since; itself."""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._read)
                text = file.read()
            whole = text[: text.rfind(b"\n") + 1]
            self._read += len(whole)
            for line in whole.splitlines():
                self._add(*json.loads(line))
        return self

    def _add(self, what: str, pid: int, step: str, tokens: int) -> None:
        if what == "began":
            self.begun[step] += 1
            self.running[pid].add(step)
        else:
            self.running[pid].discard(step)
            if what == "done":
                self.tokens[step] = tokens
                self.finished[step.split(".")[3]] += 1

    def in_flight(self, pids: set[int], act: str = "") -> int:
        """Generations under way in these processes, of one act or of any."""
        return sum(not act or f".{act}." in step for pid in pids for step in self.running[pid])

    def of(self, query_ids: Collection[str]) -> tuple[int, int]:
        """Generations of these queries: how many were begun, and how many are under way."""
        begun = sum(n for step, n in self.begun.items() if step.partition(".")[0] in query_ids)
        running = [step for steps in self.running.values() for step in steps]
        return begun, sum(step.partition(".")[0] in query_ids for step in running)

    def again(self, prefix: str) -> int:
        """Generations of a wave that were begun although the step had been begun before."""
        return sum(n - 1 for step, n in self.begun.items() if step.startswith(prefix))

    def tokens_again(self, prefix: str) -> int:
        """Their tokens, whole also of those that were cut short: an upper bound.

        A step that nobody finished counts nothing: what it would have cost is not known.
        """
        steps = ((s, n) for s, n in self.begun.items() if s.startswith(prefix))
        return sum((n - 1) * self.tokens.get(step, 0) for step, n in steps)

    def tokens_once(self, prefix: str) -> int:
        """What the wave would have cost without a fault."""
        return sum(n for step, n in self.tokens.items() if step.startswith(prefix))
