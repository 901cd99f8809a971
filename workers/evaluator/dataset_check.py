"""`colm evaluate --check`: grades a data set's own answers; asks nothing."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path

from rich.console import Console

from colm.evaluation.data.self_check import DataCheck, DataFinding, check_data
from colm.models.sandbox import runner
from colm.tasks.config.run_config import DataSettings, GraderSettings, absolute, read_config
from colm.workers.console import print_json
from colm.workers.evaluator.data import read
from colm.workers.evaluator.grading import limits_of

#: Concurrent programs, and printed rows and findings; `--json` has all.
THREADS = 2
PRINTED = 20


def check_source(source: str, *, as_json: bool) -> int:
    """Checks a whole data set, or the one of an evaluation's TOML file; the exit status.

    Uses the file's grader and its limits, and ignores its part and limit. Raises InvalidAsk for
    unreadable data.
    """
    data, grader = _named(source)
    check = partial(runner.run, limits=limits_of(grader))
    with ThreadPoolExecutor(THREADS) as pool:
        checked = check_data(read(data), grader=grader.kind, check=check, mapped=pool.map)
    if as_json:
        print_json({**asdict(checked), "sound": checked.sound})
    else:
        _show(checked)
    return 0 if checked.sound else 1


def _named(source: str) -> tuple[DataSettings, GraderSettings]:
    if source.endswith(".toml"):
        config = read_config(Path(source))
        return config.data, config.grader
    return DataSettings(source=absolute(source, Path.cwd())), GraderSettings()


def _show(checked: DataCheck) -> None:
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(f"{checked.name}: {checked.examples} examples, {len(checked.bad)} bad rows")
    _lines(console, [f"{row.where}: {row.reason}" for row in checked.bad])
    console.print(f"{len(checked.findings)} whose own answer is graded wrong")
    _lines(console, [_line(finding) for finding in checked.findings])
    if checked.without_solution:
        console.print(f"{checked.without_solution} programs without a solution to test")
    if checked.unread:
        console.print(f"unread fields: {', '.join(checked.unread)}")


def _line(finding: DataFinding) -> str:
    status = finding.status
    read = f", read as {finding.extracted!r}" if finding.extracted and status != "error" else ""
    graded = f"{finding.text!r} is {status}{read}: {finding.reason}"
    return f"{finding.example} {finding.question!r}: {graded}"


def _lines(console: Console, lines: Sequence[str]) -> None:
    for line in lines[:PRINTED]:
        console.print(f"  {line}")
    if len(lines) > PRINTED:
        console.print(f"  and {len(lines) - PRINTED} more: --json has all")
