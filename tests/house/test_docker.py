"""The Docker files are sound as far as that shows without a Docker engine."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from colm.tasks.config.settings import load
from colm.workers.cli.main import app
from tests.house import images
from tests.house.images import COMPOSE_FILES, DOCKER, DOCKERFILES, compose, our_services
from tests.house.repository import FLOORS, ROOT, name

VALUES = {"RABBITMQ_PASSWORD": "one", "POSTGRES_PASSWORD": "two"}
SERVICES = our_services(VALUES)


def _tool(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    tool = Path(sys.executable).with_name(program)
    return subprocess.run([tool, *arguments], capture_output=True, text=True)


def _parse(words: list[str]) -> tuple[str, dict[str, Any]]:
    """The subcommand and arguments that `colm` reads from a command line, without running it."""
    assert words[0] == "colm"
    group: Any = typer.main.get_command(app)
    context = group.context_class(group)
    subcommand, command, rest = group.resolve_command(context, words[1:])
    found = command.make_context(subcommand, rest, parent=context)
    if isinstance(command, TyperGroup):  # `colm client ada` is `colm client run ada`
        words = [*found._protected_args, *found.args]
        name_, inner, rest = command.resolve_command(found, words)
        assert inner is not None
        found = inner.make_context(name_, rest, parent=found)
    return subcommand, found.params


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=name)
def test_hadolint_finds_nothing(dockerfile: Path) -> None:
    done = _tool("hadolint", dockerfile)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("file", COMPOSE_FILES, ids=name)
def test_a_compose_file_keeps_to_its_schema(file: Path) -> None:
    done = _tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", file)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=name)
def test_an_image_runs_commands_that_exist_as_a_user_without_rights(dockerfile: Path) -> None:
    entrypoint, command, healthcheck = images.image(name(dockerfile))
    _parse(entrypoint + command)
    _parse(healthcheck)
    assert re.findall(r"^USER (.+)$", dockerfile.read_text(), re.MULTILINE)[-1] == "10001"


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_a_service_runs_commands_that_exist_with_settings_that_exist(
    service: images.Service, tmp_path: Path
) -> None:
    subcommand, arguments = _parse(service.command)
    if service.healthcheck is not None:
        _parse(service.healthcheck)
    settings = load(service.environment, tmp_path)
    table = {"client": settings.clients, "server": settings.servers}.get(subcommand, {})
    assert set(arguments.get("names") or []) <= set(table)


def test_every_configured_participant_has_a_service(tmp_path: Path) -> None:
    settings = load({}, tmp_path)
    named = {word for service in SERVICES for word in service.command[2:]}
    assert named >= {*settings.clients, *settings.servers}


def test_clients_and_servers_reach_the_broker_and_not_the_database() -> None:
    for service_name, service in compose(VALUES)["services"].items():
        if service.get("command", [""])[0] in {"client", "server"}:
            assert service["networks"] == ["messages"], service_name
            assert "COLM_DATABASE" not in service["environment"], service_name
    assert compose(VALUES)["services"]["postgres"]["networks"] == ["record"]


def test_nothing_listens_beyond_this_machine() -> None:
    ports = [p for s in compose(VALUES)["services"].values() for p in s.get("ports", [])]
    assert len(ports) >= 1
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_a_service_waits_only_for_services_that_can_be_waited_for() -> None:
    services = compose(VALUES)["services"]
    checked = {service.name for service in SERVICES if service.healthcheck}
    checked |= {
        service_name for service_name in services if "healthcheck" in services[service_name]
    }
    for service in services.values():
        for needed, how in service.get("depends_on", {}).items():
            assert how["condition"] != "service_healthy" or needed in checked
            assert needed in services


def test_what_is_kept_is_kept_in_named_volumes() -> None:
    content = compose(VALUES)
    used = {
        volume.partition(":")[0]
        for s in content["services"].values()
        for volume in s.get("volumes", [])
    }
    files = {volume for volume in used if volume.startswith(".")}
    assert used - files == set(content["volumes"])
    assert [file for file in files if not (DOCKER / file).is_file()] == []


def test_other_peoples_images_are_named_with_their_version() -> None:
    for service in compose(VALUES)["services"].values():
        if "build" not in service:
            assert re.search(r":\d", service["image"]), service["image"]


def test_the_example_of_env_has_every_variable_and_no_password() -> None:
    lines = (DOCKER / ".env.example").read_text().splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert set(given) == images.variables()
    assert [value for value in given.values() if value] == []


def test_the_build_context_holds_every_package_and_little_else() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    packages = {"colm", *FLOORS, "migrations"}
    assert let_in == packages | {
        "LICENSE", "README.md", "constraints.txt", "pyproject.toml", "setup.cfg",
    }  # fmt: skip
