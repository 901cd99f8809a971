"""Implementation of `colm replay`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from rich.console import Console

from colm.tasks.config.settings import settings
from colm.workers.audit.replay_decisions import Decisions, replay_decisions
from colm.workers.audit.replay_steps import Compared, Load, replay_steps
from colm.workers.cli.query_actions import recorded_life
from colm.workers.console import plain, print_json

STYLE = {"equal": "green", "different": "yellow", "not run": "dim"}


def run_replay(query: str, load: Load, *, decisions_only: bool, as_json: bool) -> int:
    """Print the comparison; 1 if a result that must be equal differs, else 0."""
    life = recorded_life(query)
    decisions = replay_decisions(life)
    console = Console()
    if not as_json:
        _print_decisions(decisions, console)
    compared: list[Compared] = []
    if not decisions_only:
        config = settings()
        for step in replay_steps(life, {**config.clients, **config.servers}, load):
            compared.append(step)
            if not as_json:
                _print_step(step, console)
    broken = [step for step in compared if step.broken]
    failed = bool(broken) or decisions.difference is not None
    if as_json:
        document: dict[str, Any] = {
            "decisions": asdict(decisions),
            "steps": [{**asdict(step), "promised": step.why is None} for step in compared],
            "holds": not failed,
        }
        print_json(document)
    elif not decisions_only:
        console.print(plain(summary(compared)))
    return int(failed)


def summary(compared: Iterable[Compared]) -> str:
    """One line: the number of steps by result."""
    steps = list(compared)
    counts = {name: sum(step.result == name for step in steps) for name in STYLE}
    results = ", ".join(f"{count} {name}" for name, count in counts.items())
    broken = sum(step.broken for step in steps)
    return f"{results}; {broken} of them against a promise"


def _print_decisions(decisions: Decisions, console: Console) -> None:
    if decisions.difference is not None:
        d = decisions.difference
        line = f"decisions: DIFFERENT at entry {d.seq}: recorded {d.recorded}, now"
        console.print(plain(f"{line} {d.decided}", "bold red"), soft_wrap=True)
    elif decisions.ended_early is not None:
        line = f"decisions: {decisions.moves} moves equal, then {decisions.ended_early}"
        console.print(plain(line), soft_wrap=True)
    else:
        console.print(plain(f"decisions: all {decisions.moves} moves equal", "green"))


def _print_step(step: Compared, console: Console) -> None:
    style = "bold red" if step.broken else STYLE[step.result]
    line = f"{step.result:>9}  {step.step_id}"
    if step.result == "different":
        line += f": differs after {step.same_characters} characters"
    if step.why is not None:
        line += f" ({'' if step.result == 'not run' else 'equality is not promised: '}{step.why})"
    console.print(plain(line, style), soft_wrap=True)
    if step.result == "different":
        for name, text in (("recorded", step.recorded), ("replayed", step.replayed)):
            console.print(plain(f"{name:>19}: {text!r}"), soft_wrap=True)
