"""`colm reliability`, and the coordinator's thread that keeps reliabilities at hand."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine

from db.engine import connect
from db.reliability import client_parts
from models.errors import TransientError
from models.reliability import Reliability, reliabilities
from models.roster import Roster
from tasks.settings import settings
from workers.printing import print_json
from workers.show import plain

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


def show_reliability(queries: int, *, as_json: bool) -> None:
    """Print what the latest answered queries say of each client."""
    found = reliabilities(client_parts(connect(settings().database_url), queries))
    if as_json:
        print_json([asdict(told) for told in found])
    else:
        Console().print(_table(found))


def _table(found: Sequence[Reliability]) -> Table:
    table = Table(box=None, header_style="bold")
    for name in (
        "client", "asked", "completed", "failed", "expired", "late", "agreement", "near-copies",
        "changed", "seconds", "reliability",
    ):  # fmt: skip
        table.add_column(name, justify="left" if name == "client" else "right")
    for r in found:
        low, high = r.delivered_low, r.delivered_high
        interval = ""
        if low is not None and high is not None:
            interval = f" ({low:.0%} to {high:.0%}; {r.queries} queries)"
        agreement = f"{r.agreement:.2f} in {r.compared}" if r.agreement is not None else ""
        row = (
            r.client, str(r.asked), f"{r.completed}{interval}", str(r.failed), str(r.expired),
            str(r.late), agreement, f"{r.near_copies} of {r.drafts}",
            f"{r.changed} of {r.refinements}",
            f"{r.median_seconds:.2f}" if r.median_seconds is not None else "",
            f"{r.reliability:.2f}",
        )  # fmt: skip
        table.add_row(*map(plain, row))
    return table
