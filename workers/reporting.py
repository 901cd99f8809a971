"""`colm report`: a run as one HTML file, as JSON and as pictures; or beside an earlier one."""

from __future__ import annotations

import re
from pathlib import Path

from rich.console import Console

from db.engine import connect
from evaluation import report
from evaluation.analysis import analyse, compare
from models.errors import ColmError
from tasks.settings import settings
from workers.evaluating import whole_name
from workers.printing import print_json
from workers.run_reading import read_run


def write_report(run: str, before: str | None, folder: Path | None, *, as_json: bool) -> None:
    """Write the report of `run`, compared with `before` if given; or print its numbers as JSON."""
    engine = connect(settings().database_url)
    console = Console(stderr=True)
    names = [whole_name(engine, name) for name in (run, before) if name is not None]
    found = [
        read_run(engine, name, lambda words: console.print(words, style="dim")) for name in names
    ]
    if empty := [data.run for data in found if not data.units]:
        raise ColmError(f"nothing of run {empty[0]} is done yet: there is nothing to report")
    data, earlier = found[0], found[1] if len(found) > 1 else None
    if as_json:
        changes = compare(earlier, data) if earlier else ()
        told = report.as_json(data, analyse(data), before=earlier, changes=changes)
        print_json(told)
        return
    files = report.write(data, folder or Path(f"report-{_file_name(data.run)}"), before=earlier)
    for caution in files.cautions:
        console.print(caution, style="yellow")
    Console().print(f"wrote {files.html}", highlight=False, soft_wrap=True)


def _file_name(run: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", run)
