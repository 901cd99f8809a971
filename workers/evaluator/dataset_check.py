"""`colm evaluate --check`: hold a data set against its own answers; nothing is ordered or asked."""

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

#: Programs that run at once, and rows and findings that are shown; `--json` has all.
THREADS = 2
SHOWN = 20


def check_source(source: str, *, as_json: bool) -> int:
    """Check all of a data set, or of the one that an evaluation's TOML file names; the exit status.

    The file's grader is used, and its limits on programs. Its part and limit are not: the whole set
    is checked. Raises InvalidAsk where nothing can be read.
    """
    data, grader = _named(source)
    check = partial(runner.run, limits=limits_of(grader))
    with ThreadPoolExecutor(THREADS) as pool:
        found = check_data(read(data), grader=grader.kind, check=check, mapped=pool.map)
    if as_json:
        print_json({**asdict(found), "sound": found.sound})
    else:
        _show(found)
    return 0 if found.sound else 1


def _named(source: str) -> tuple[DataSettings, GraderSettings]:
    if source.endswith(".toml"):
        config = read_config(Path(source))
        return config.data, config.grader
    return DataSettings(source=absolute(source, Path.cwd())), GraderSettings()


def _show(found: DataCheck) -> None:
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(f"{found.name}: {found.examples} examples, {len(found.bad)} bad rows")
    _lines(console, [f"{row.where}: {row.reason}" for row in found.bad])
    console.print(f"{len(found.findings)} that their own grader judges wrongly")
    _lines(console, [_told(one) for one in found.findings])
    if found.without_solution:
        console.print(f"{found.without_solution} programs without a solution to try the tests on")
    if found.unread:
        console.print(f"fields that nothing reads: {', '.join(found.unread)}")


def _told(one: DataFinding) -> str:
    read = f", read as {one.extracted!r}" if one.extracted and one.status != "error" else ""
    return f"{one.example} {one.question!r}: {one.text!r} is {one.status}{read}: {one.reason}"


def _lines(console: Console, lines: Sequence[str]) -> None:
    for line in lines[:SHOWN]:
        console.print(f"  {line}")
    if len(lines) > SHOWN:
        console.print(f"  and {len(lines) - SHOWN} more: --json has all")
