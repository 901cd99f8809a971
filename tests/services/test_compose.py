"""The compose file's services, run as plain processes with its own commands and variables."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.house.images import DOCKER, Service, our_services
from tests.house.repository import ROOT
from tests.provision import RabbitMQServer
from tests.provision.process import Child, free_port
from tests.unit.engines_seeing import picture

VALUES = {"RABBITMQ_PASSWORD": "one", "POSTGRES_PASSWORD": "two"}
#: Answers without a model, as docker/colm.env could say.
SCRIPTED = {
    f"COLM_{participant}__ENGINE__KIND": "scripted"
    for participant in ("CLIENTS__ADA", "CLIENTS__BO", "CLIENTS__CY", "SERVERS__MAIN")
} | {"COLM_CLIENTS__ADA__SEES": "true"}
RUN = """
[data]
source = "data.jsonl"
[[entries]]
name = "ada"
strategy = "single"
options = { participant = "ada" }
"""


class Site:
    """Runs services in processes that know nothing but what the compose file tells them."""

    def __init__(self, folder: Path, broker: str, database: str) -> None:
        self._folder = folder
        self.images_port = free_port()
        secret = folder / "images.secret"
        secret.write_text("0" * 44)
        self._elsewhere = {
            "http://images:8700": f"http://127.0.0.1:{self.images_port}",
            "/run/secrets/images": str(secret),
            "amqp://colm:one@rabbitmq:5672/colm": broker,
            "postgresql+psycopg2://colm:two@postgres:5432/colm": database,
        }
        self._services = {service.name: service for service in our_services(VALUES)}
        self._running: list[Child] = []

    def run(self, service: str, *arguments: str) -> str:
        """Run a service, or its program with other arguments, to its end; what it prints."""
        found = self._services[service]
        words = [*_colm(found.command[:1]), *arguments] if arguments else _colm(found.command)
        done = self._run(found, words)
        assert done.returncode == 0, f"{words}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self, service: str, *more: str) -> None:
        found = self._services[service]
        log = self._folder / f"{service}.log"
        command = [*_colm(found.command), *more]
        self._running.append(Child(command, log=log, env=self._environment(found)))

    def wait_until_healthy(self, service: str, timeout: float = 60) -> None:
        found = self._services[service]
        assert found.healthcheck is not None
        deadline = time.monotonic() + timeout
        while (done := self._run(found, _colm(found.healthcheck))).returncode:
            assert time.monotonic() < deadline, done.stdout + done.stderr
            time.sleep(0.5)

    def stop(self) -> None:
        """End every service as `docker compose down` does."""
        while self._running:
            self._running.pop().end(signal.SIGTERM, timeout=30)

    def _run(self, service: Service, words: list[str]) -> subprocess.CompletedProcess[str]:
        environment = self._environment(service)
        return subprocess.run(
            words, env=environment, cwd=self._folder, capture_output=True, text=True, timeout=90
        )

    def _environment(self, service: Service) -> dict[str, str]:
        given = {k: self._elsewhere.get(v, v) for k, v in service.environment.items()}
        bare = {"HOME": str(self._folder), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
        return {**bare, **SCRIPTED, **given}


def _colm(words: list[str]) -> list[str]:
    assert words[0] == "colm"
    return [sys.executable, "-m", "colm.workers", *words[1:]]


@pytest.fixture
def site(tmp_path: Path, rabbitmq_url: str, empty_postgres_url: str) -> Iterator[Site]:
    found = Site(tmp_path, rabbitmq_url, empty_postgres_url)
    yield found
    found.stop()


@pytest.mark.slow
def test_the_services_become_healthy_answer_a_question_and_stop_when_told(site: Site) -> None:
    site.run("migrate")
    site.start("coordinator")
    site.wait_until_healthy("coordinator")
    for service in ("server", "client-ada", "client-bo", "client-cy"):
        site.start(service)
    for service in ("server", "client-ada"):
        site.wait_until_healthy(service)

    answer = json.loads(site.run("colm", "ask", "--json", "Does every process work?"))

    assert answer["status"] == "answered"
    assert set(answer["clients"]) == {"ada", "bo", "cy"}
    site.stop()


@pytest.mark.slow
def test_images_and_evaluations_have_services_that_do_them(site: Site, tmp_path: Path) -> None:
    site.run("migrate")
    site.start("coordinator")
    site.wait_until_healthy("coordinator")
    site.start("images", f"--port={site.images_port}", "--address=127.0.0.1")
    for service in ("evaluator", "client-ada"):
        site.start(service)
    site.wait_until_healthy("images")
    site.wait_until_healthy("evaluator")
    (tmp_path / "sign.png").write_bytes(picture(2))
    (tmp_path / "data.jsonl").write_text(
        '{"question": "1 + 1?", "answer": "2", "kind": "numeric"}\n'
    )
    (tmp_path / "run.toml").write_text(RUN)

    alone = ["--strategy=single", "--option=participant=ada", "--json"]
    asked = site.run("colm", "ask", "--image=sign.png", *alone, "What does the sign say?")
    site.run("colm", "evaluate", "run.toml", "--name=compose")
    run = json.loads(site.run("colm", "run", "show", "compose", "--json"))

    assert json.loads(asked)["status"] == "answered"
    assert (run["state"], run["progress"]["entries"][0]["done"]) == ("done", 1)


@pytest.mark.slow
def test_flower_listens_where_the_compose_file_publishes_it(site: Site) -> None:
    port = free_port()
    site.start("flower", f"--port={port}", "--address=127.0.0.1")

    deadline = time.monotonic() + 60
    while not _answers(f"http://127.0.0.1:{port}/healthcheck"):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).text == "OK"
    except httpx.TransportError:
        return False


@pytest.mark.slow
@pytest.mark.usefixtures("rabbitmq_installed")
def test_rabbitmq_starts_with_the_configuration_of_the_compose_file() -> None:
    config = (DOCKER / "rabbitmq.conf").read_text()
    with RabbitMQServer(management=False, config=config) as server:
        assert server.processes
