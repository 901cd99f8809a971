"""`colm reliability`, and the coordinator's thread that keeps reliabilities at hand."""

from __future__ import annotations

import logging
import threading

from sqlalchemy import Engine

from colm.db.reads.client_stats import client_parts
from colm.models.client_reliability import reliabilities
from colm.models.errors import TransientError
from colm.models.roster import Roster

logger = logging.getLogger(__name__)


#: The latest answered queries that are looked at, unless said otherwise.
QUERIES = 500


#: How often a coordinator looks again (seconds).
EVERY = 60.0


class ReliabilityWatch:
    """Writes every client's reliability into the roster's defaults for `colm`, until `close`."""

    def __init__(self, engine: Engine, roster: Roster) -> None:
        self._engine = engine
        self._roster = roster
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="reliability", daemon=True)

    def start(self) -> None:
        self.refresh()
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5.0)

    def refresh(self) -> None:
        """Read the record once. What it cannot read stays as it was."""
        try:
            found = reliabilities(client_parts(self._engine, QUERIES))
        except TransientError as error:
            logger.warning("the clients' reliability is as it was: %s", error)
            return
        scores = {told.client: told.reliability for told in found}
        defaults = self._roster.defaults
        defaults["colm"] = {**defaults.get("colm", {}), "reliability": scores}

    def _loop(self) -> None:
        while not self._stop.wait(EVERY):
            self.refresh()


def watch(engine: Engine, roster: Roster) -> ReliabilityWatch | None:
    """A running watch where the site leaves unreliable clients out; None where it does not."""
    if roster.defaults.get("colm", {}).get("min_reliability") is None:
        return None
    found = ReliabilityWatch(engine, roster)
    found.start()
    return found
