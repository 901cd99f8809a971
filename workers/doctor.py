"""`colm doctor`: looks at everything a query needs, and says what to do about what it finds."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Literal

from kombu.exceptions import OperationalError
from rich.console import Console
from rich.markup import escape

from db import migrate
from models.errors import ColmError
from tasks.inspection import depths
from tasks.publishing import topology
from tasks.settings import settings

Grade = Literal["ok", "warning", "problem"]
STYLE: dict[Grade, str] = {"ok": "green", "warning": "yellow", "problem": "red"}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing looked at, and what to do when it is not well."""

    about: str
    grade: Grade
    found: str
    do: str = ""


def run_doctor(*, broker_only: bool, as_json: bool) -> int:
    """Print every finding; 1 if any is a problem, else 0."""
    findings = list(examine(broker_only=broker_only))
    if as_json:
        json.dump([asdict(f) for f in findings], sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        console = Console()
        for f in findings:
            console.print(
                f"[{STYLE[f.grade]}]{f.grade:>8}[/]  {escape(f.about)}: {escape(f.found)}"
                + (f"\n          → {escape(f.do)}" if f.do else ""),
                highlight=False,
            )
    return int(any(f.grade == "problem" for f in findings))


def examine(*, broker_only: bool) -> Iterator[Finding]:
    """Every finding; a check that cannot be done is a finding too."""
    settings()  # nothing can be looked at without them: their error is the command's
    checks: list[Callable[[], Iterator[Finding]]] = [_settings, _queues]
    if not broker_only:
        checks.insert(1, _database)
    for check in checks:
        try:
            yield from check()
        except (ColmError, OperationalError, OSError) as error:
            yield Finding(
                about=check.__name__.strip("_"),
                grade="problem",
                found=str(error),
                do="start it, or correct its address in colm.toml or the COLM_* variables",
            )


def _settings() -> Iterator[Finding]:
    found = settings()
    yield Finding(
        about="settings",
        grade="ok",
        found=f"{len(found.clients)} clients, {len(found.servers)} servers, "
        f"{'embedded broker' if found.embedded else 'RabbitMQ'}, {found.shown_database}",
    )


def _database() -> Iterator[Finding]:
    pending = migrate.pending(settings().database_url)
    if pending:
        names = ", ".join(pending)
        yield Finding(about="database", grade="problem", found=f"lacks {names}", do="colm migrate")
    else:
        yield Finding(about="database", grade="ok", found="reachable, nothing to migrate")


def _queues() -> Iterator[Finding]:
    names = [q.name for q in topology().everything() if q.name != topology().dead().name]
    for name, waiting, consumers in depths(names):
        if consumers:
            yield Finding(about=name, grade="ok", found=f"{waiting} messages, {consumers} readers")
        else:
            role = name.removeprefix("colm.").split(".")
            start = "colm coordinator" if len(role) == 1 else _command(*role)
            yield Finding(
                about=name, grade="warning", found=f"{waiting} messages, no reader", do=start
            )


def _command(act: str, name: str) -> str:
    return f"colm {'server' if act == 'synthesize' else 'client'} {name}"
