"""docker/ as the tests read it: what the images run, and what the compose file asks of them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import yaml

from tests.house.repository import ROOT

DOCKER = ROOT / "docker"
DOCKERFILES = sorted(DOCKER.glob("Dockerfile.*"))
COMPOSE_FILES = sorted(DOCKER.glob("compose*.yaml"))

_EXEC = re.compile(r"^(ENTRYPOINT|CMD|HEALTHCHECK\b.*?\bCMD) (\[.*\])$", re.MULTILINE)
_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::[-?](?P<default>[^}]*))?\}")


class Image(NamedTuple):
    """What a Dockerfile runs, each as a list of words."""

    entrypoint: list[str]
    command: list[str]
    healthcheck: list[str]


class Service(NamedTuple):
    """A service of the compose file that runs one of our images."""

    name: str
    #: The whole command line of its process.
    command: list[str]
    healthcheck: list[str] | None
    environment: dict[str, str]


def image(dockerfile: str) -> Image:
    text = (ROOT / dockerfile).read_text()
    found = {kind.split()[0]: json.loads(words) for kind, words in _EXEC.findall(text)}
    return Image(found["ENTRYPOINT"], found["CMD"], found["HEALTHCHECK"])


def variables() -> set[str]:
    """Every variable that the compose files take from docker/.env."""
    return {m["name"] for path in COMPOSE_FILES for m in _VARIABLE.finditer(path.read_text())}


def compose(values: Mapping[str, str]) -> dict[str, Any]:
    """The compose file with its variables replaced."""

    def value(match: re.Match[str]) -> str:
        return values.get(match["name"]) or match["default"] or ""

    text = _VARIABLE.sub(value, (DOCKER / "compose.yaml").read_text())
    content: dict[str, Any] = yaml.safe_load(text)
    return content


def our_services(values: Mapping[str, str]) -> Sequence[Service]:
    return [
        _service(name, service)
        for name, service in compose(values)["services"].items()
        if "build" in service
    ]


def _service(name: str, service: dict[str, Any]) -> Service:
    built = image(service["build"]["dockerfile"])
    check = service.get("healthcheck", {})
    return Service(
        name,
        built.entrypoint + service.get("command", built.command),
        None if check.get("disable") else check.get("test", built.healthcheck),
        service.get("environment", {}),
    )
