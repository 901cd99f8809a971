"""A broker that refuses the caller is one clear error, and says what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from colm.workers.rabbitmq.management_api import Management
from colm.workers.rabbitmq.permissions import Permissions
from tests.provision import VirtualHosts

NOTHING = "^$"


@pytest.fixture
def stranger(rabbitmq_url: str, rabbitmq_vhosts: VirtualHosts) -> Iterator[str]:
    """The URL of a user who may log in to the virtual host, and do nothing there."""
    parts = urlsplit(rabbitmq_url)
    vhost = parts.path.removeprefix("/")
    user = f"stranger-{vhost[-6:]}"
    host = parts.netloc.rpartition("@")[2]
    with Management(rabbitmq_vhosts.api_url, vhost) as api:
        api.put_user(user, "its-own", "")
        api.allow(user, Permissions(configure=NOTHING, write=NOTHING, read=NOTHING, keys={}))
        yield parts._replace(netloc=f"{user}:its-own@{host}").geturl()
        api.delete_user(user)


def told(broker: str, folder: Path) -> str:
    """What `colm ask` and `ask.delay` say; each in a process of its own."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("COLM_")},
        "COLM_BROKER": broker,
        "COLM_DATABASE": f"sqlite:///{folder / 'record.db'}",
        "COLM_HOME": str(folder),
    }
    said = []
    for program in (
        ["-m", "colm.workers", "migrate"],
        ["-m", "colm.workers", "ask", "Why?"],
        ["-c", "from colm.tasks import ask; ask.delay('Why?')"],
    ):
        done = subprocess.run(
            [sys.executable, *program],
            env=environment, cwd=folder, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == ("migrate" not in program), done.stderr
        said.append(done.stderr)
    _, command, task = said
    assert "Traceback" not in command
    assert command.startswith("SettingsError: ")
    assert command.removeprefix("SettingsError: ").strip() in task  # the same error, raised
    assert urlsplit(broker).password not in command.split()
    return command


def test_a_wrong_password_is_told(rabbitmq_url: str, tmp_path: Path) -> None:
    parts = urlsplit(rabbitmq_url)
    host = parts.netloc.rpartition("@")[2]
    broker = parts._replace(netloc=f"{parts.username}:amiss@{host}").geturl()
    said = told(broker, tmp_path)
    assert "user or password was refused: correct the URL of the broker" in said
    assert "amiss" not in said


def test_an_unknown_virtual_host_is_told(rabbitmq_url: str, tmp_path: Path) -> None:
    said = told(urlsplit(rabbitmq_url)._replace(path="/nowhere").geturl(), tmp_path)
    assert "(virtual host nowhere)" in said
    assert "the virtual host of the URL does not exist, or this user has no right to it" in said


def test_a_missing_right_is_told(stranger: str, tmp_path: Path) -> None:
    said = told(stranger, tmp_path)
    assert "this user lacks the permission: 'colm doctor' lists its permissions" in said
    assert "colm.ask" in said
