"""What a data set is made of, and which of it is taken. Pure.

An example's id is a digest of what it asks and expects, so it survives reordering, added rows and
another file name; results of two runs meet by it.
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

#: Hexadecimal digits of an id: two different examples in a million share one with odds of 1e-7.
ID_DIGITS = 16

#: Made once: `json.dumps` makes one for each call that is not plain.
_JSON = json.JSONEncoder(ensure_ascii=False)


@dataclass(frozen=True, kw_only=True)
class Example:
    """One item of a data set: what is asked, and how its answer is judged."""

    id: str
    question: str
    #: Answers that are right, any of them. For code, a solution, where there is one.
    references: tuple[str, ...]
    kind: Kind
    #: The options of a choice in order: the first is A.
    choices: tuple[str, ...] = ()
    #: For code: Python that fails where the program before it is wrong.
    tests: str = ""
    #: For code: tests that an answer may be tried on before it is graded. No part of the id.
    visible_tests: str = ""
    #: Examples of one cluster (a document, a template) are not independent of each other.
    cluster: str = ""
    #: Images that the question is about: paths, or names in the site's image store.
    images: tuple[str, ...] = ()
    #: The source's own worked answer, of which the reference is a part. No part of the id.
    worked: str = ""
    #: Grades answers to this example in place of its kind's grader; vqa or none.
    grader: str = ""


@dataclass(frozen=True, kw_only=True)
class BadRow:
    """A row that is no example: where it is, and why."""

    where: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Examples in their order, and the rows that could not be read."""

    name: str
    examples: tuple[Example, ...]
    bad: tuple[BadRow, ...] = ()
    #: Fields that hold something and that no example was made of.
    unread: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Changes whenever an example or the order does."""
        return hashlib.sha256("\n".join(e.id for e in self.examples).encode()).hexdigest()


def identified(example: Example) -> Example:
    """With the id that its content gives it; images count by their names as the source has them."""
    told = [
        example.question,
        example.references,
        example.kind,
        example.choices,
        example.tests,
        example.images,
        *([example.grader] if example.grader else []),
    ]
    digest = hashlib.sha256(_JSON.encode(told).encode("utf-8", "surrogatepass")).hexdigest()
    return replace(example, id=digest[:ID_DIGITS])


def distinct(examples: Iterable[Example]) -> tuple[list[Example], list[Example]]:
    """The first of each id, and those that repeat one."""
    found: dict[str, Example] = {}
    repeated = []
    for example in examples:
        if example.id in found:
            repeated.append(example)
        else:
            found[example.id] = example
    return list(found.values()), repeated


def part_of(examples: Sequence[Example], part: Part, tuning_share: float) -> list[Example]:
    """The tuning or the test part. Which one an example is in depends on its cluster or id alone:
    it never changes sides because others came or went."""
    if part == "all":
        return list(examples)
    return [e for e in examples if (_draw(e.cluster or e.id) < tuning_share) == (part == "tuning")]


def sample(examples: Sequence[Example], most: int | None, seed: int) -> list[Example]:
    """At most `most` of them, drawn by `seed`, in their own order; None takes all."""
    if most is None or most >= len(examples):
        return list(examples)
    places = sorted(random.Random(seed).sample(range(len(examples)), most))
    return [examples[place] for place in places]


def _draw(name: str) -> float:
    """A number in [0, 1) that depends on `name` alone."""
    return int.from_bytes(hashlib.sha256(f"split {name}".encode()).digest()[:8], "big") / 2**64
