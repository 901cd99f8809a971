"""The embedded broker keeps its messages and shares its folder with nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from kombu import Connection

from colm.workers.local_stack import embedded_broker as services
from colm.workers.local_stack.embedded_broker import EmbeddedBroker
from colm.workers.local_stack.lock_file import ServiceError
from tests.provision.process import running

_REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory(prefix="colm-") as name:
        yield Path(name) / "made when needed"


def _put(url: str, value: int) -> None:
    with Connection(url) as connection, connection.SimpleQueue("kept") as queue:
        queue.put({"value": value})


def _get(url: str) -> int:
    with Connection(url) as connection, connection.SimpleQueue("kept") as queue:
        message = queue.get(timeout=5)
        message.ack()
        value: int = message.payload["value"]
        return value


def test_a_message_survives_a_crash_and_a_clean_stop(folder: Path) -> None:
    broker = EmbeddedBroker(folder).start()
    _put(broker.url, 1)
    _put(broker.url, 2)

    broker.kill()
    assert not broker.alive
    broker.start()
    assert _get(broker.url) == 1

    broker.stop()
    with EmbeddedBroker(folder) as another:
        assert _get(another.url) == 2


def test_celery_reads_the_url_of_a_folder_with_awkward_characters(folder: Path) -> None:
    with EmbeddedBroker(folder / "a#b?c%20d") as broker:
        _put(broker.url, 3)
        assert _get(broker.url) == 3


def test_a_second_stack_on_one_folder_is_told_who_is_there(embedded_broker: EmbeddedBroker) -> None:
    with pytest.raises(ServiceError, match=r"another stack \(process \d+\) runs in"):
        EmbeddedBroker(embedded_broker.folder).start()
    assert embedded_broker.alive


def test_a_broker_ends_with_a_stack_that_was_killed_and_its_folder_is_free(folder: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path;"
        "from colm.workers.local_stack.embedded_broker import EmbeddedBroker;"
        "print(EmbeddedBroker(Path(sys.argv[1])).start().pid, flush=True); time.sleep(300)"
    )
    stack = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=_REPOSITORY,
    )
    with stack:
        assert stack.stdout is not None
        orphan = int(stack.stdout.readline())
        assert running(orphan)
        stack.kill()

    with EmbeddedBroker(folder) as broker:
        assert not running(orphan)
        _put(broker.url, 4)
        assert _get(broker.url) == 4


def test_a_folder_too_deep_for_a_unix_socket_is_refused_by_name() -> None:
    deep = Path("/tmp") / ("x" * 100)
    with pytest.raises(ServiceError, match=f"{deep}.*at most 107"):
        EmbeddedBroker(deep)


def test_a_missing_binary_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ServiceError, match="needs a valkey-server"):
        EmbeddedBroker(folder).start()


def test_a_server_on_the_path_serves_where_the_package_has_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir()
    (folder / "redis-server").symlink_to(services.valkey_binary())
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", str(folder))
    with EmbeddedBroker(folder) as broker:
        _put(broker.url, 5)
        assert _get(broker.url) == 5


def test_starting_twice_is_starting_once(embedded_broker: EmbeddedBroker) -> None:
    before = embedded_broker.pid
    embedded_broker.start()
    assert embedded_broker.pid == before


def test_a_server_that_does_not_stop_when_asked_is_killed(embedded_broker: EmbeddedBroker) -> None:
    process = embedded_broker.pid
    assert process is not None
    os.kill(process, signal.SIGSTOP)

    embedded_broker.stop(timeout=0.2)

    assert not running(process)
    embedded_broker.stop()


def test_a_server_that_cannot_start_shows_its_log(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "valkey_binary", lambda: Path("/bin/false"))
    folder.mkdir()
    (folder / "broker.log").write_text("Bad file format reading the append only file\n")
    with pytest.raises(ServiceError, match=r"status 1(.|\n)*Bad file format"):
        EmbeddedBroker(folder).start()


def test_a_server_that_does_not_answer_is_given_up_and_ended(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeper = folder.parent / "sleeper"
    sleeper.write_text("#!/bin/sh\nexec sleep 300\n")
    sleeper.chmod(0o755)
    monkeypatch.setattr(services, "valkey_binary", lambda: sleeper)
    broker = EmbeddedBroker(folder, start_timeout=0.2)

    before = time.monotonic()
    with pytest.raises(ServiceError, match=r"did not answer within 0\.2 s"):
        broker.start()

    assert time.monotonic() - before < 5
    assert broker.pid is None
