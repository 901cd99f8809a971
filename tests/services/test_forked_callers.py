"""A caller that forks: parent and children ask and wait with connections of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from colm.db.connection import connect
from colm.db.record.store import SqlRecord

REPOSITORY = Path(__file__).parents[2]

#: What has ended is asked for with what is not: a child that shares its parent's connection to the
#: database, or to the broker, gets what is the parent's, or nothing.
PROGRAM = """
import json, os, sys, threading
from colm.tasks import app, ask

def one(number):
    ask.delay(f"question {number}")
    known = ask.AsyncResult("query-0001").get(timeout=60, propagate=False)
    try:
        ask.AsyncResult(f"unknown-{number}").get(timeout=0.2)
    except app.AsyncResult.TimeoutError:
        return str(known)

if __name__ == "__main__":
    found = [one(0)]
    waiting = threading.Thread(target=lambda: found.append(one(1)))
    waiting.start()
    reader, writer = os.pipe()
    children = []
    for number in range(2, 5):
        child = os.fork()
        if child == 0:
            for _ in range(2):
                os.write(writer, (one(number) + chr(10)).encode())
            sys.exit(0) if number == 2 else os._exit(0)  # the first closes what it holds
        children.append(child)
    waiting.join()
    ends = [os.waitpid(child, 0)[1] for child in children]
    os.close(writer)
    told = os.fdopen(reader).read().splitlines()
    print(json.dumps([*found, one(6), *told, *ends]))
"""


@pytest.mark.parametrize("kind", ["embedded", "rabbitmq"])
def test_parent_and_children_are_answered(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    embedded = kind == "embedded"
    broker = request.getfixturevalue("embedded_broker_url" if embedded else "rabbitmq_url")
    database = request.getfixturevalue("sqlite_url" if embedded else "postgres_url")
    engine = connect(database)
    SqlRecord(engine).refuse("query-0001", "Why?", "colm", "it ends", datetime.now(UTC))
    engine.dispose()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COLM_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={
            **kept,
            "COLM_BROKER": broker,
            "COLM_DATABASE": database,
            "COLM_HOME": str(tmp_path / "home"),
            "PYTHONPATH": str(REPOSITORY),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [*["it ends"] * (3 + 3 * 2), *[0] * 3]
