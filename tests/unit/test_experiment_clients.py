"""Clients of an experiment are limited by the kernel, and missed when they are gone."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from models.errors import ClientsGone
from workers.experiments_clients import ClientsProcess, limit_memory

#: Takes as much memory as its argument says (MiB), once it is told to go.
HUNGRY = """
import sys
input()
taken = bytearray(int(sys.argv[1]) * 2**20)
print("has", len(taken) >> 20, "MiB", flush=True)
"""


def hungry(tmp_path: Path, mebibytes: int, limit: int) -> ClientsProcess:
    """A process that has asked for so much under the limit, and has ended."""
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", HUNGRY, str(mebibytes)],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
        )
    limit_memory(process.pid, limit)
    process.communicate(b"\n", timeout=60)
    return ClientsProcess(process=process, log=log)


def test_a_process_within_its_limit_notices_nothing(tmp_path: Path) -> None:
    found = hungry(tmp_path, mebibytes=64, limit=512)
    assert (found.process.returncode, found.log.read_text()) == (0, "has 64 MiB\n")


def test_the_kernel_refuses_what_is_beyond_the_limit(tmp_path: Path) -> None:
    found = hungry(tmp_path, mebibytes=600, limit=512)
    assert found.process.returncode == 1
    with pytest.raises(ClientsGone, match=r"did not start \(exit status 1\): MemoryError"):
        found.await_ready()


def test_a_process_that_goes_away_is_told_at_once_and_raised_at_the_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("took a step\n\n")
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    told = threading.Event()

    def die() -> None:
        with ClientsProcess(process=process, log=log).watched(told.set):
            process.kill()
            assert told.wait(10)

    with pytest.raises(ClientsGone, match=r"in the middle \(exit status -9\): took a step"):
        die()
    process.communicate()


def test_a_process_that_stays_is_left_alone(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with ClientsProcess(process=process, log=tmp_path / "log").watched(pytest.fail):
        time.sleep(0.1)
    process.communicate(b"\n")
    assert process.returncode == 0
