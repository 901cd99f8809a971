"""Implementation of `colm reliability`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from colm.db.connection import connect
from colm.db.reads.client_stats import client_parts
from colm.models.client_reliability import Reliability, reliabilities
from colm.tasks.config.settings import settings
from colm.workers.console import plain, print_json


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
            r.client, str(r.steps), f"{r.completed}{interval}", str(r.failed), str(r.expired),
            str(r.late), agreement, f"{r.near_copies} of {r.drafts}",
            f"{r.changed} of {r.refinements}",
            f"{r.median_seconds:.2f}" if r.median_seconds is not None else "",
            f"{r.reliability:.2f}",
        )  # fmt: skip
        table.add_row(*map(plain, row))
    return table
