"""`colm doctor` on a real RabbitMQ and PostgreSQL finds what is wrong, and a coordinator minds."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.provision import RabbitMQServer, VirtualHosts
from tests.services.isolated import IsolatedSite, broker_of, connect, isolated_site

MARKED = "marked-s3cret"


@pytest.fixture
def site(
    tmp_path: Path, rabbitmq_vhosts: VirtualHosts, rabbitmq_url: str, postgres_url: str
) -> Iterator[IsolatedSite]:
    with isolated_site(tmp_path, rabbitmq_vhosts, rabbitmq_url, postgres_url) as found:
        yield found


def doctor(site: IsolatedSite, *options: str, broker: str | None = None) -> dict[str, Any]:
    """Every finding by what it is about, with the management API at hand."""
    site.variables["COLM_MANAGEMENT"] = site.api_url
    if broker:
        site.variables["COLM_BROKER"] = broker
    code, out = site.status_and_output("doctor", "--json", *options)
    findings = json.loads(out)
    site.variables.clear()
    assert code == any(f["grade"] == "problem" for f in findings)
    assert all(f["do"] for f in findings if f["grade"] != "ok")
    told: dict[str, dict[str, str]] = {}
    for finding in sorted(findings, key=lambda f: ["ok", "warning", "problem"].index(f["grade"])):
        before = told.get(finding["about"], {"found": "", "do": ""})
        told[finding["about"]] = {**finding, "found": f"{before['found']} {finding['found']}"}
    return told


def declared(site: IsolatedSite, *, stop: bool = True) -> None:
    """A coordinator has started, and was stopped unless told otherwise."""
    site.start("coordinator")
    log = site.folder / "coordinator.log"
    site.wait_until(lambda: "reads colm.ask" in log.read_text(), timeout=60)
    if stop:
        site.stop("coordinator")


def test_a_site_that_is_well_has_no_problem_and_is_looked_at_in_every_part(
    site: IsolatedSite,
) -> None:
    declared(site)

    told = doctor(site)

    assert [f for f in told.values() if f["grade"] == "problem"] == []
    assert told.keys() >= {
        "broker", "database", "migrations", "permissions", "queues", "bindings", "alarms",
        "consumer_timeout", "clock against the database's", "clock against the broker's",
        "disk for home", "model of a, ab",
    }  # fmt: skip
    assert "RabbitMQ" in told["broker"]["found"]
    assert "PostgreSQL" in told["database"]["found"]


def test_drift_left_overs_and_missing_bindings_are_found(site: IsolatedSite) -> None:
    declared(site)
    with connect(site.admin) as connection:
        channel = connection.channel()
        channel.queue_delete("colm.refine.ab")
        channel.queue_delete("colm.draft.a")
        channel.queue_declare("colm.draft.a", durable=True)
        channel.queue_unbind("colm.draft.ab", "colm.steps", "draft.ab")
        channel.queue_declare("colm.draft.gone", durable=True)

    told = doctor(site)

    assert "is missing" in told["queue colm.refine.ab"]["found"]
    assert "is not bound to colm.steps" in told["queue colm.draft.ab"]["found"]
    assert "other arguments" in told["queue colm.draft.a"]["found"]
    assert "colm client remove gone" in told["queue colm.draft.gone"]["do"]
    log = site.folder / "coordinator.log"
    log.unlink()
    site.start("coordinator")
    assert site.processes["coordinator"].wait(60) == 1
    assert "a queue exists with other arguments" in log.read_text()


def test_a_participants_own_user_may_do_what_it_has_to_and_the_coordinators_more(
    site: IsolatedSite,
) -> None:
    declared(site)
    own = broker_of(site.add("client", "a"))

    restricted = doctor(site, "--broker-only", broker=own)
    assert restricted["permissions as client a"]["grade"] == "ok"
    assert "permissions as client ab" not in restricted

    other = doctor(site, "--for", "ab", broker=own)["permissions as client ab"]
    assert other["grade"] == "problem"
    assert "read colm.draft.ab" in other["found"]
    assert "submit" not in other["found"]

    wide = doctor(site, "--for", "a")["permissions as client a"]
    assert wide["grade"] == "warning"
    assert "submit as ab" in wide["found"]

    assert doctor(site, broker=own)["permissions"]["grade"] == "problem"


def test_a_user_that_was_made_for_somebody_who_is_gone_is_told(site: IsolatedSite) -> None:
    declared(site)
    site.add("client", "gone")
    told = doctor(site)[f"user {site.user('gone')}"]
    assert told["grade"] == "warning"
    assert "colm client remove gone" in told["do"]


@pytest.mark.usefixtures("rabbitmq_installed")
def test_an_alarm_of_the_broker_is_a_problem(tmp_path: Path, postgres_url: str) -> None:
    with RabbitMQServer(config="vm_memory_high_watermark.absolute = 1\n") as server:
        hosts = contextlib.closing(VirtualHosts(server.url, server.api_url))
        with (
            hosts as found,
            found.fresh() as admin,
            isolated_site(tmp_path, found, admin, postgres_url) as site,
        ):
            told = doctor(site)["alarms"]
            assert told["grade"] == "problem"
            assert "memory" in told["found"]


def test_no_password_is_shown_by_doctor_or_logged_by_a_process(site: IsolatedSite) -> None:
    user = site._user("marked")
    site.api.put_user(user, MARKED, "")
    wrong = site.broker.replace("coordinators-own", MARKED)
    nobody = f"amqp://{user}:{MARKED}@{site.admin.rpartition('@')[2]}"
    database = site.database.partition("?")[0] + f"?password={MARKED}&application_name=x"
    site.variables["COLM_MANAGEMENT"] = f"http://{user}:{MARKED}@127.0.0.1:1"
    site.variables["COLM_LIMITS__NO_CONSUMER_TIMEOUT"] = "1"
    commands = [
        ["doctor"], ["doctor", "--json"], ["coordinator"], ["client", "a"], ["ask", "Why?"],
        ["queries"], ["client", "list"], ["flower", "--port", "0"], ["dead", "list"],
    ]  # fmt: skip
    for broker, few in ((wrong, commands), (nobody, commands[:1])):
        site.variables |= {"COLM_BROKER": broker, "COLM_DATABASE": database}
        for command in few:
            site.start(*command, known_as=f"{len(site.processes):02d}-{command[0]}")
    site.wait_until(lambda: _ended(site) >= len(commands), timeout=200)  # all but Flower
    for process in site.processes.values():
        process.terminate()
    for process in site.processes.values():
        process.wait(30)
    output = {path.name: path.read_text() for path in site.folder.glob("*.log")}
    assert len(output) == len(commands) + 1
    assert all(output[name] for name in output if "doctor" in name)
    assert [name for name, text in output.items() if MARKED in text] == []
    assert json.dumps(output).count("user or password was refused") >= 3


def _ended(site: IsolatedSite) -> int:
    return sum(process.poll() is not None for process in site.processes.values())
