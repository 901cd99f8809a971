"""A caller's own process: asks many questions, or reads the results of ids that it is given.

python -m tests.chaos.caller ask COUNT PREFIX OPTIONS LOG [SUFFIX]
                                                            one line "ID" in LOG for each accepted
python -m tests.chaos.caller read SECONDS < IDS             one JSON object: an id to its result
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from colm.models.errors import ColmError, Overloaded, TransientError
from colm.tasks import ask

#: Before a question that was not accepted is asked again, under the same id (seconds).
PAUSE = 0.2


def question_of(query_id: str) -> str:
    """The question that is asked under this id: no two are the same."""
    return f"What is {query_id} about?"


def ask_all(count: int, prefix: str, options: dict[str, Any], log: Path, suffix: str) -> None:
    """Ask `count` questions, one of them in the middle with `suffix` at the end of its id.

    What was accepted is noted only after `apply_async` has returned.
    """
    with log.open("a", buffering=1) as accepted:
        for number in range(count):
            query_id = f"{prefix}{number:05d}{suffix if number == count // 2 else ''}"
            _insist(query_id, options)
            accepted.write(f"{query_id}\n")


def _insist(query_id: str, options: dict[str, Any]) -> None:
    while True:
        try:
            ask.apply_async((question_of(query_id),), options, task_id=query_id)
        except (TransientError, Overloaded):
            time.sleep(PAUSE)
        else:
            return


def read_all(query_ids: list[str], timeout: float) -> dict[str, Any]:
    """What each AsyncResult gives: the answer, or the name and text of an error of ours."""
    found: dict[str, Any] = {}
    for query_id in query_ids:
        try:
            found[query_id] = ask.AsyncResult(query_id).get(timeout=timeout)
        except ColmError as error:
            found[query_id] = f"{type(error).__name__}: {error}"
    return found


if __name__ == "__main__":
    if sys.argv[1] == "ask":
        ask_all(
            int(sys.argv[2]),
            sys.argv[3],
            json.loads(sys.argv[4]),
            Path(sys.argv[5]),
            "".join(sys.argv[6:]),
        )
    else:
        json.dump(read_all(sys.stdin.read().split(), float(sys.argv[2])), sys.stdout)
