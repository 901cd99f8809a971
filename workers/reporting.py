"""`colm report`: the numbers of one run, or of several beside each other, as files."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from db.engine import connect
from evaluation.analysis import Analysis, analyse
from evaluation.run_data import RunData
from models.errors import ColmError
from tasks.settings import settings
from workers.evaluating import whole_name
from workers.run_reading import read_run


def write_report(names: Sequence[str], folder: Path | None, *, as_json: bool) -> None:
    """Write the report of the runs, or print its numbers as JSON."""
    engine = connect(settings().database_url)
    console = Console(stderr=True)
    found = [
        read_run(engine, whole_name(engine, name), lambda words: console.print(words, style="dim"))
        for name in names
    ]
    if empty := [data.run for data in found if not data.units]:
        raise ColmError(f"nothing of run {empty[0]} is done yet: there is nothing to report")
    told = [numbers(data, analyse(data)) for data in found]
    if as_json:
        json.dump(told, sys.stdout, ensure_ascii=False, indent=2, default=str)
        sys.stdout.write("\n")
        return
    folder = folder or Path(f"report-{'-'.join(_file_name(data.run) for data in found)}")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "report.json"
    path.write_text(json.dumps(told, ensure_ascii=False, indent=2, default=str), encoding="utf-8")
    Console().print(f"wrote {path}", highlight=False)


def numbers(data: RunData, analysis: Analysis) -> dict[str, Any]:
    """The report as data: what was run, and every number of it; no texts but the regressions'."""
    head = asdict(data)
    for texts in ("units", "examples", "surfaces"):
        del head[texts]
    surfaces = {name: [asdict(p) for p in points] for name, points in data.surfaces.items()}
    return {**head, "analysis": asdict(analysis), "surfaces": surfaces}


def _file_name(run: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", run)
