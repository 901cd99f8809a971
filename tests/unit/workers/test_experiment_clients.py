"""Clients of an experiment are limited by the kernel, and missed when they are gone."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from colm.models.errors import ClientsGone
from colm.workers.experiments.client_processes import (
    Clients,
    await_ready,
    limit_memory,
    peak_memory,
)
from colm.workers.supervisor import SupervisedProcess

#: Takes as much memory as its argument says (MiB), once it is told to go.
HUNGRY = """
import sys
input()
taken = bytearray(int(sys.argv[1]) * 2**20)
print("has", len(taken) >> 20, "MiB", flush=True)
"""


def client(process: subprocess.Popen[bytes], log: Path) -> SupervisedProcess:
    return SupervisedProcess(name="client", command=[], log_path=log, process=process)


def hungry(tmp_path: Path, mebibytes: int, limit: int) -> SupervisedProcess:
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
    return client(process, log)


def test_a_process_within_its_limit_notices_nothing(tmp_path: Path) -> None:
    process = hungry(tmp_path, mebibytes=64, limit=512)
    assert process.status == 0
    assert (tmp_path / "log").read_text() == "has 64 MiB\n"


def test_the_kernel_refuses_what_is_beyond_the_limit(tmp_path: Path) -> None:
    process = hungry(tmp_path, mebibytes=600, limit=512)
    assert process.status == 1
    with pytest.raises(ClientsGone, match=r"did not start \(exit status 1\): MemoryError"):
        await_ready(process)


def test_a_process_that_goes_away_is_lost_at_once_and_raised_at_the_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("took a step\n\n")
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    lost = threading.Event()

    def die() -> None:
        with Clients(processes=(client(process, log),)).watched(lost.set):
            process.kill()
            assert lost.wait(10)

    with pytest.raises(ClientsGone, match=r"ended during the run \(exit status -9\): took a step"):
        die()
    process.communicate()


def test_a_process_that_stays_is_left_alone(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with Clients(processes=(client(process, tmp_path / "log"),)).watched(pytest.fail):
        time.sleep(0.1)
    process.communicate(b"\n")
    assert process.returncode == 0


def test_of_several_processes_the_memory_is_added_and_each_is_missed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("took a step\n")
    command = [sys.executable, "-c", "print(flush=True); input()"]
    waiting = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)
    ]
    for process in waiting:
        assert process.stdout is not None
        process.stdout.readline()
    clients = Clients(processes=tuple(client(p, log) for p in waiting))
    one, other = (peak_memory(process) for process in clients.processes)
    assert one is not None
    assert other is not None
    assert clients.peak() == one + other > one > 1

    lost = threading.Event()

    def lose_the_second() -> None:
        with clients.watched(lost.set):
            waiting[1].kill()
            assert lost.wait(10)

    with pytest.raises(ClientsGone, match="ended during the run"):
        lose_the_second()
    assert clients.peak() is None, "what one has held is not known any more"
    for process in waiting:
        process.communicate(b"\n" if process.returncode is None else None)
