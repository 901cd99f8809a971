"""What an evaluation that runs beside it costs a caller who waits.

    python -m benchmarks.interactive                      # scripted engines, 0.5 s a step
    python -m benchmarks.interactive --quick
    python -m benchmarks.interactive --model FOLDER       # this model as client and as server

A site of one client and one server is asked question after question, in turn without a run and
while an evaluation keeps `--concurrency` queries in flight, on the same site.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import uuid
from pathlib import Path

from benchmarks.figures import ratio_interval, ratio_of_medians, summarize
from benchmarks.rig import running
from colm.db.connection import connect
from colm.db.runs import store
from colm.db.runs.units import completed_units
from colm.tasks import ask, evaluate
from colm.tasks.config.settings import settings
from colm.workers.evaluator.run_control import change_run

SCRIPTED = 'engine = {{ kind = "scripted", delay = {delay}, max_num_seqs = {batch} }}'
REAL = 'engine = {{ model = "{model}", max_num_seqs = {batch}, threads = 1 }}'


def main() -> None:
    options = _parser().parse_args()
    asks = options.asks or (5 if options.quick else 40)
    with running(_site(options)):
        _ask(options)  # warms up
        alone, beside, done = [], [], 0
        for _ in range(options.repeats):
            alone += [_ask(options) for _ in range(asks)]
            with tempfile.TemporaryDirectory(prefix="colm-interactive-") as folder:
                run = _order(Path(folder), options)
                started = _done(run)
                beside += [_ask(options) for _ in range(asks)]
                done += _done(run) - started
                change_run(run, "cancelled")
                _wait_until_given_back(run)
    _tell("without a run", alone)
    _tell(f"with {options.concurrency} overnight queries in flight", beside)
    low, high = ratio_interval(beside, alone)
    print(f"ratio of the medians {ratio_of_medians(beside, alone):.2f} ({low:.2f} to {high:.2f})")
    print(f"units of the run that were done meanwhile: {done}")


def _parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    found.add_argument("--quick", action="store_true", help="small samples")
    found.add_argument("--asks", type=int, help="in each of the two, one by one; default: 40")
    found.add_argument("--repeats", type=int, default=1, help="default: 1")
    found.add_argument("--concurrency", type=int, default=8, help="default: 8")
    found.add_argument("--batch", type=int, default=8, help="of each engine; default: 8")
    found.add_argument("--delay", type=float, default=0.5, help="of a scripted step (seconds)")
    found.add_argument("--model", help="a folder with weights, in place of scripted engines")
    found.add_argument("--tokens", type=int, default=32, help="at most, of a completion")
    return found


def _site(options: argparse.Namespace) -> str:
    template = REAL if options.model else SCRIPTED
    engine = template.format(model=options.model, delay=options.delay, batch=options.batch)
    return f"[clients.ada]\n{engine}\n[servers.main]\n{engine}\n"


def _ask(options: argparse.Namespace) -> float:
    """Seconds from an ask to its answer."""
    question = f"What is {uuid.uuid4().hex[:6]}?"
    started = time.perf_counter()
    ask.delay(question, rounds=1, max_new_tokens=options.tokens).get(timeout=600)
    return time.perf_counter() - started


def _order(folder: Path, options: argparse.Namespace) -> str:
    """Order a run that outlasts the measurement; its name, once it is at work."""
    items = folder / "items.jsonl"
    rows = ({"question": f"What is {n}?", "answer": str(n)} for n in range(20_000))
    items.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = {
        "data": {"source": str(items)},
        "entries": [{"name": "colm", "options": {"rounds": 1}}],
        "concurrency": options.concurrency,
        "max_new_tokens": options.tokens,
    }
    run = str(evaluate.delay(config, name=f"beside-{uuid.uuid4().hex[:6]}").id)
    until = time.monotonic() + 600
    while _done(run) < 4:
        if time.monotonic() > until:
            raise SystemExit("the run did not begin within 10 minutes")
        time.sleep(0.2)
    return run


def _done(run: str) -> int:
    engine = connect(settings().database_url, pool_size=1)
    try:
        return len(completed_units(engine, run))
    finally:
        engine.dispose()


def _wait_until_given_back(run: str) -> None:
    engine = connect(settings().database_url, pool_size=1)
    while store.find(engine, run).owner is not None:
        time.sleep(0.2)
    engine.dispose()


def _tell(what: str, seconds: list[float]) -> None:
    told = summarize(seconds)
    tail = f", 99th percentile {1000 * told.p99:.0f}" if told.p99 is not None else ""
    print(
        f"{what}: median {1000 * told.median:.0f} ms{tail}, "
        f"{1000 * told.least:.0f} to {1000 * told.most:.0f} ({told.samples} asks)"
    )


if __name__ == "__main__":
    main()
