"""A simulated run for tests of the report: no model wrote any of it."""

from __future__ import annotations

import random

from colm.evaluation.stats.cope_thresholds import ThresholdPoint
from colm.evaluation.stats.costs import TokenPrice
from colm.evaluation.stats.run_data import ClientTexts, EntryData, ExampleData, RunData, UnitData
from colm.models.messages import Act, Role, Spent

ENTRIES = (
    EntryData(name="ada", strategy="single", options={"participant": "ada"}),
    EntryData(name="server", strategy="single", options={"participant": "main"}),
    EntryData(name="colm", strategy="colm", options={"rounds": 1}),
    EntryData(name="resample", strategy="resample"),
    EntryData(name="cope", strategy="cope", options={"n": 8}),
    EntryData(name="self-moa", strategy="self-moa"),
)
#: How often each entry is right, and each client's draft, and what refining does to it.
SKILL = {"ada": 0.3, "server": 0.6, "colm": 0.52, "resample": 0.34, "cope": 0.58, "self-moa": 0.62}
CLIENTS = {"ada": 0.3, "bo": 0.25}
HOSTILE = '<script>alert("x")</script> & {{ 7 * 7 }} $\\frac{1}{2}$ \u202e "quoted"'


def simulated(
    name: str = "simulated",
    *,
    n: int = 60,
    seeds: int = 1,
    seed: int = 1,
    lift: float = 0.0,
    entries: tuple[EntryData, ...] = ENTRIES,
) -> RunData:
    """A run of `n` examples whose outcomes are drawn by `seed`; `lift` is added to every skill."""
    rng = random.Random(seed)
    examples = {
        f"example{number:04d}": ExampleData(
            question=f"Question {number}: what is {number} + {number}? {HOSTILE}",
            references=(str(2 * number),),
        )
        for number in range(n)
    }
    units = [
        _unit(rng, entry, example, unit_seed, lift)
        for unit_seed in range(seeds)
        for example in examples
        for entry in entries
    ]
    return RunData(
        run=name,
        ordered="2026-01-01 22:00",
        data="made up",
        machine="none: nothing was generated",
        notes=("Simulated. No model wrote any of this: it shows what a report looks like.",),
        examples=examples,
        entries=entries,
        units=tuple(units),
        baselines=("server", "ada"),
        planned=len(units) + 10,
        prices={"main": TokenPrice(input=0.5, output=1.5)},
        bad_rows=(("data.jsonl:7", "it is not JSON: Expecting value"),),
        steps_asked=len(units) * 4,
        steps_generated=len(units) * 3,
        tokens_saved=12_345,
        threshold_sweeps={"cope": tuple(_points())},
    )


def _unit(rng: random.Random, entry: EntryData, example: str, seed: int, lift: float) -> UnitData:
    right = rng.random() < SKILL[entry.name] + lift
    status = "graded" if rng.random() < 0.94 else "unparsed"
    together = entry.strategy in ("colm", "resample")
    return UnitData(
        entry=entry.name,
        example=example,
        seed=seed,
        status="graded" if status == "graded" else "unparsed",
        correct=right if status == "graded" else None,
        seconds=rng.gammavariate(4, 1 + len(entry.name) / 4),
        text=f"{entry.name} says it is {rng.randrange(99)}. {HOSTILE}",
        reason=None if status == "graded" else "no numeric answer was found in the text",
        ledger=tuple(_ledger(rng, entry)),
        clients={name: _client(rng, name, entry.strategy) for name in CLIENTS} if together else {},
        stage=rng.choice([1, 1, 2, 3]) if entry.strategy == "cope" else None,
    )


def _client(rng: random.Random, name: str, strategy: str) -> ClientTexts:
    draft = rng.random() < CLIENTS[name]
    mended = 0.4 if strategy == "colm" else 0.12
    refined = rng.random() < (0.75 if draft else mended)
    return ClientTexts(draft=draft, refined=refined, draft_text="first", refined_text="then")


def _ledger(rng: random.Random, entry: EntryData) -> list[Spent]:
    def spent(who: str, role: Role, act: Act, calls: int) -> Spent:
        return Spent(
            participant=who,
            role=role,
            act=act,
            calls=calls,
            prompt=rng.randrange(100, 200) * calls,
            completion=rng.randrange(40, 160) * calls,
        )

    match entry.strategy:
        case "single":
            role: Role = "server" if entry.name == "server" else "client"
            return [spent("main" if role == "server" else "ada", role, "draft", 1)]
        case "cope":
            return [
                spent("ada", "client", "plan", 8),
                spent("ada", "client", "solve", 8),
                spent("main", "server", "solve", 1),
            ]
        case "self-moa":
            return [spent("main", "server", "draft", 4), spent("main", "server", "aggregate", 1)]
    return [
        spent("ada", "client", "draft", 1),
        spent("bo", "client", "draft", 1),
        *([spent("main", "server", "synthesize", 1)] if entry.strategy == "colm" else []),
        spent("ada", "client", "refine", 1),
        spent("bo", "client", "refine", 1),
    ]


def _points() -> list[ThresholdPoint]:
    return [
        ThresholdPoint(
            t1=t1,
            t2=t2,
            n=n,
            accuracy=0.4 + 0.2 * t1 + 0.1 * t2 + n / 100,
            dollars=t1 * 0.002,
            tokens=3000 * (t1 + t2),
            calls=8 + 10 * t1,
            ended={0: 0, 1: 30, 2: 20, 3: 10},
        )
        for n in (4, 8)
        for t1 in (0.25, 0.5, 0.75, 1.0)
        for t2 in (0.25, 0.5, 0.75, 1.0)
    ]
