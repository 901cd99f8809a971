"""The examples of a run: loaded and sampled as its configuration says."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from colm.evaluation.data import load as datasets
from colm.evaluation.data.examples import BadRow, Dataset, part_of, sample
from colm.evaluation.data.formats import Columns
from colm.models.errors import InvalidAsk
from colm.tasks.config.run_config import DataSettings, RunConfig

#: Bad rows that are described one by one.
DESCRIBED_ROWS = 5


def load(settings: DataSettings) -> Dataset:
    """The examples of `settings`: its part, limited to its number.

    Raises InvalidAsk for unreadable data and for data without examples.
    """
    dataset = read(settings)
    chosen = sample(
        part_of(dataset.examples, settings.part, settings.tuning_share),
        settings.limit,
        settings.seed,
    )
    if not chosen:
        note = f": {describe_bad_rows(dataset.bad)}" if dataset.bad else ""
        raise InvalidAsk(f"no example to ask in {settings.source}{note}")
    return replace(dataset, examples=tuple(chosen))


def read(settings: DataSettings) -> Dataset:
    """All examples of the data. Raises InvalidAsk if it is unreadable."""
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
    """A digest of everything that the run asks.

    Visible tests count only for runs with an entry that uses them: ids do not depend on them.
    """
    if not any(entry.wants_visible_tests for entry in config.entries):
        return data.digest
    tests = "\0".join(example.visible_tests for example in data.examples)
    return hashlib.sha256(f"{data.digest}\n{tests}".encode()).hexdigest()


def describe_missing_tests(config: RunConfig, data: Dataset) -> str:
    """One line on examples without visible tests, for an entry with confidence by tests.

    Raises InvalidAsk if no example has any.
    """
    testing = [entry.name for entry in config.entries if entry.wants_visible_tests]
    without = sum(not example.visible_tests for example in data.examples)
    if not testing or not without:
        return ""
    if without == len(data.examples):
        raise InvalidAsk(
            f"entry {testing[0]!r} needs visible tests: no example of {config.data.source} has any"
        )
    return f"{without} of {len(data.examples)} examples have no visible tests: confidence by vote"


def describe_bad_rows(bad: tuple[BadRow, ...]) -> str:
    """One line on the rows that were left out; empty for none."""
    if not bad:
        return ""
    rows = "; ".join(f"{row.where}: {row.reason}" for row in bad[:DESCRIBED_ROWS])
    more = f"; and {len(bad) - DESCRIBED_ROWS} more" if len(bad) > DESCRIBED_ROWS else ""
    return f"left out {len(bad)} rows ({rows}{more})"
