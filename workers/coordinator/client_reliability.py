"""Thread that keeps the clients' reliability scores in the roster up to date."""

from __future__ import annotations

import logging

from sqlalchemy import Engine

from colm.db.reads.client_stats import client_parts
from colm.models.client_reliability import reliabilities
from colm.models.errors import TransientError
from colm.models.roster import Roster
from colm.workers.periodic_thread import PeriodicThread

logger = logging.getLogger(__name__)

#: Number of latest answered queries that a score counts by default.
QUERIES = 500
#: Interval of the refreshes (seconds).
REFRESH_SECONDS = 60.0


class ReliabilityWatch(PeriodicThread):
    """Writes every client's reliability into the roster's defaults for `colm`, until `close`."""

    def __init__(self, engine: Engine, roster: Roster) -> None:
        super().__init__("reliability", REFRESH_SECONDS, self.refresh)
        self._engine = engine
        self._roster = roster

    def refresh(self) -> None:
        """Read the record once. If the database is unreachable, the scores stay as they are."""
        try:
            clients = reliabilities(client_parts(self._engine, QUERIES))
        except TransientError as error:
            logger.warning("the clients' reliability is not refreshed: %s", error)
            return
        scores = {client.client: client.reliability for client in clients}
        defaults = self._roster.defaults
        defaults["colm"] = {**defaults.get("colm", {}), "reliability": scores}


def watch(engine: Engine, roster: Roster) -> ReliabilityWatch | None:
    """A refreshed and running watch; None if the site sets no `min_reliability`."""
    if roster.defaults.get("colm", {}).get("min_reliability") is None:
        return None
    watch = ReliabilityWatch(engine, roster)
    watch.refresh()
    watch.start()
    return watch
