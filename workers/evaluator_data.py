"""The examples of a run: read where the evaluator runs, chosen by the run's own seed."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.errors import InvalidAsk
from tasks.evaluation_config import DataSettings


@dataclass(frozen=True, kw_only=True)
class Example:
    """One item of a data set."""

    id: str
    question: str
    #: What was expected, as the grader compares it.
    reference: str
    #: The grader that the data suggests.
    kind: str
    #: Whatever else the grader needs.
    detail: dict[str, Any] = field(default_factory=dict)


def load(settings: DataSettings) -> list[Example]:
    """The examples that the settings name. Raises InvalidAsk that says what cannot be read."""
    path = Path(settings.source)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines if line.strip()]
    except (OSError, ValueError) as error:
        raise InvalidAsk(f"the data {settings.source} cannot be read: {error}") from error
    examples = [_example(row, number) for number, row in enumerate(rows)]
    return choose(examples, settings)


def choose(examples: Sequence[Example], settings: DataSettings) -> list[Example]:
    """The part and the number of `examples` that the settings ask for, the same every time."""
    order = list(examples)
    random.Random(settings.seed).shuffle(order)
    first_of_test = round(len(order) * settings.tuning_share)
    part = {
        "all": order,
        "tuning": order[:first_of_test],
        "test": order[first_of_test:],
    }[settings.part]
    taken = {example.id for example in part[: settings.limit]}
    return [example for example in examples if example.id in taken]


def _example(row: dict[str, Any], number: int) -> Example:
    if "test" in row and "entry_point" in row:
        detail = {"test": row["test"], "entry_point": row["entry_point"]}
        question = f"Complete this Python function.\n\n```python\n{row['prompt']}\n```"
        return Example(
            id=str(row["task_id"]), question=question, reference=row["test"], kind="code",
            detail=detail,
        )  # fmt: skip
    reference = str(row["answer"]).rpartition("####")[2].strip()
    kind = row.get("kind") or ("numeric" if "####" in str(row["answer"]) else "exact")
    return Example(
        id=str(row.get("id", number)), question=row["question"], reference=reference, kind=kind
    )
