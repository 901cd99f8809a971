"""Steps of the act `check`: a sandbox runs code with its visible tests. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

from colm.models.answers.compare import extract
from colm.models.messages import Participant, Query, Sampling, Step, Turn
from colm.models.sandbox.protocol import CheckRequest
from colm.models.sandbox.runner import MAX_PROGRAM
from colm.models.strategies.cope.consensus import Sample
from colm.models.strategies.stages import make_step

VERSION = "2026-11-check-a"

#: Characters of a turn.
MAX_TURN = 400_000


class Tests(NamedTuple):
    """Python tests, and the sandbox server that runs them."""

    checker: str
    code: str


def check_steps(
    query: Query, tests: Tests, samples: Sequence[Sample], stage: int, now: datetime
) -> list[Step]:
    """A step for each sample with code, by its index; samples without code cannot pass."""
    checker = Participant(name=tests.checker, role="server", sampling=Sampling(temperature=0))
    step = partial(make_step, query, checker, "check", stage, version=VERSION)
    requests = {i: _request(s, tests, query.question) for i, s in enumerate(samples)}
    return [
        step((Turn(role="user", content=request),), now, index=index)
        for index, request in requests.items()
        if request is not None
    ]


def _request(sample: Sample, tests: Tests, question: str) -> str | None:
    """The JSON request for a sample; None without code, or for code that is too long."""
    code = None if sample.text is None else extract(sample.text, "code", question=question)
    if code is None or len(code) > MAX_PROGRAM:
        return None
    request = CheckRequest(code=code, tests=tests.code).model_dump_json()
    return request if len(request) <= MAX_TURN else None
