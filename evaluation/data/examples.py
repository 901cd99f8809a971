"""Examples of a data set, their ids, and samples of them. Pure.

An example's id is a digest of its content: it survives reordering, added rows and renamed files,
and matches the results of two runs.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from colm.models.answers.compare import Kind

Part = Literal["all", "tuning", "test"]

#: Hex digits of an id. In a million examples two share one with probability 1e-7.
ID_DIGITS = 16

_JSON = json.JSONEncoder(ensure_ascii=False)


@dataclass(frozen=True, kw_only=True)
class Example:
    """One item of a data set: a question and its right answers."""

    id: str
    question: str
    #: Alternative right answers. For code, a solution or none.
    references: tuple[str, ...]
    kind: Kind
    #: Options of a multiple choice; the first is A.
    choices: tuple[str, ...] = ()
    #: For code: Python that fails after a wrong program.
    tests: str = ""
    #: For code: tests that may run before grading. Not part of the id.
    visible_tests: str = ""
    #: Examples of one cluster (a document, a template) are not independent.
    cluster: str = ""
    #: Images of the question: paths, or names in the site's image store.
    images: tuple[str, ...] = ()
    #: The source's worked answer, which contains the reference. Not part of the id.
    worked: str = ""
    #: A grader instead of the kind's: vqa or none.
    grader: str = ""


@dataclass(frozen=True, kw_only=True)
class BadRow:
    """An unusable row: its place and the reason."""

    where: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Examples in order, and the unusable rows."""

    name: str
    examples: tuple[Example, ...]
    bad: tuple[BadRow, ...] = ()
    #: Fields that no example used.
    unread: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 over the ids in order."""
        return hashlib.sha256("\n".join(e.id for e in self.examples).encode()).hexdigest()


def with_id(example: Example) -> Example:
    """`example` with its id; images count by their names in the source."""
    content = [
        example.question,
        example.references,
        example.kind,
        example.choices,
        example.tests,
        example.images,
        *([example.grader] if example.grader else []),
    ]
    digest = hashlib.sha256(_JSON.encode(content).encode("utf-8", "surrogatepass")).hexdigest()
    return replace(example, id=digest[:ID_DIGITS])


def distinct(examples: Iterable[Example]) -> tuple[list[Example], list[Example]]:
    """The first example of each id, and the repetitions."""
    by_id: dict[str, Example] = {}
    repeated = []
    for example in examples:
        if example.id in by_id:
            repeated.append(example)
        else:
            by_id[example.id] = example
    return list(by_id.values()), repeated


def part_of(examples: Sequence[Example], part: Part, tuning_share: float) -> list[Example]:
    """The tuning or test part. An example's part depends on its cluster or id alone."""
    if part == "all":
        return list(examples)
    return [
        e for e in examples if (_unit_hash(e.cluster or e.id) < tuning_share) == (part == "tuning")
    ]


def sample(examples: Sequence[Example], most: int | None, seed: int) -> list[Example]:
    """A random sample of up to `most` examples, in their order; None takes all."""
    if most is None or most >= len(examples):
        return list(examples)
    places = sorted(random.Random(seed).sample(range(len(examples)), most))
    return [examples[place] for place in places]


def _unit_hash(name: str) -> float:
    """A hash of `name` in [0, 1)."""
    return int.from_bytes(hashlib.sha256(f"split {name}".encode()).digest()[:8], "big") / 2**64
