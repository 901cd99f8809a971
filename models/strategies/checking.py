"""Asking a sandbox whether code passes its visible tests: the act `check`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from models.answers import extract
from models.messages import Participant, Query, Sampling, Step, Turn
from models.strategies.consensus import Sample
from models.strategies.stages import make_step

VERSION = "2026-11-check-a"


class Tests(NamedTuple):
    """Python that fails where the code before it is wrong, and the server that runs both."""

    checker: str
    code: str


def check_steps(
    query: Query, tests: Tests, samples: Sequence[Sample], stage: int, now: datetime
) -> list[Step]:
    """A step for each sample that holds code, by its index; the others cannot pass."""
    checker = Participant(name=tests.checker, role="server", sampling=Sampling(temperature=0))
    found = {
        i: extract(s.text, "code", question=query.question)
        for i, s in enumerate(samples)
        if s.text is not None
    }
    return [
        make_step(
            query,
            checker,
            "check",
            stage,
            (Turn(role="user", content=f"{code}\n\n{tests.code}"),),
            now,
            index=index,
            version=VERSION,
        )
        for index, code in found.items()
        if code is not None
    ]
