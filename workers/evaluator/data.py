"""The examples of a run: read where the evaluator runs, and chosen as its configuration says."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from colm.evaluation.data import load as datasets
from colm.evaluation.data.examples import BadRow, Dataset, part_of, sample
from colm.evaluation.data.formats import Columns
from colm.models.errors import InvalidAsk
from colm.tasks.config.run_config import DataSettings, RunConfig

#: How many bad rows are told of one by one.
TOLD_ROWS = 5


def load(settings: DataSettings) -> Dataset:
    """The data that the settings name, and of it the part and the number that they ask for.

    Raises InvalidAsk where nothing can be read, or nothing is left.
    """
    dataset = read(settings)
    chosen = sample(
        part_of(dataset.examples, settings.part, settings.tuning_share),
        settings.limit,
        settings.seed,
    )
    if not chosen:
        note = f": {describe_bad_rows(dataset.bad)}" if dataset.bad else ""
        raise InvalidAsk(f"there is no example to ask in {settings.source}{note}")
    return replace(dataset, examples=tuple(chosen))


def read(settings: DataSettings) -> Dataset:
    """All of the data that the settings name. Raises InvalidAsk where nothing can be read."""
    columns = Columns(choices=settings.choices, first=settings.first)
    return datasets.load(
        settings.source,
        format=settings.format,
        columns=replace(
            columns,
            question=settings.question or columns.question,
            answer=settings.answer or columns.answer,
        ),
        subset=settings.subset,
        split=settings.split,
        limit=settings.limit,
        seed=settings.seed,
        images=settings.images,
    )


def digest_of(config: RunConfig, data: Dataset) -> str:
    """Changes whenever what the run asks does: visible tests count where an entry is tried on them.

    Ids do not depend on visible tests, and runs without such an entry need not care.
    """
    if not any(entry.wants_visible_tests for entry in config.entries):
        return data.digest
    tests = "\0".join(example.visible_tests for example in data.examples)
    return hashlib.sha256(f"{data.digest}\n{tests}".encode()).hexdigest()


def describe_missing_tests(config: RunConfig, data: Dataset) -> str:
    """In one line, how many examples show no tests, where an entry is confident by them.

    Raises InvalidAsk where none shows any.
    """
    testing = [entry.name for entry in config.entries if entry.wants_visible_tests]
    without = sum(not example.visible_tests for example in data.examples)
    if not testing or not without:
        return ""
    if without == len(data.examples):
        raise InvalidAsk(
            f"entry {testing[0]!r} is confident by tests, and no example of {config.data.source} "
            "has visible tests"
        )
    return f"{without} of {len(data.examples)} examples have no visible tests: by vote there"


def describe_bad_rows(bad: tuple[BadRow, ...]) -> str:
    """In one line, which rows were left out and why; empty where none was."""
    if not bad:
        return ""
    rows = "; ".join(f"{row.where}: {row.reason}" for row in bad[:TOLD_ROWS])
    more = f"; and {len(bad) - TOLD_ROWS} more" if len(bad) > TOLD_ROWS else ""
    return f"left out {len(bad)} rows ({rows}{more})"
