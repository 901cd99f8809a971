"""Participants, coordinators and callers with users of their own answer a question together."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.test_flower import _get
from tests.provision import VirtualHosts
from tests.provision.process import free_port
from tests.services.isolated import IsolatedSite, broker_of, isolated_site


@pytest.fixture
def site(
    tmp_path: Path, rabbitmq_vhosts: VirtualHosts, rabbitmq_url: str, postgres_url: str
) -> Iterator[IsolatedSite]:
    with isolated_site(tmp_path, rabbitmq_vhosts, rabbitmq_url, postgres_url) as found:
        yield found


def test_everybody_with_rights_of_their_own_answers_a_question(site: IsolatedSite) -> None:
    files = {n: site.add("client", n) for n in ("a", "ab")}
    server = site.add("server", "main")
    site.start("coordinator")
    for name, file in files.items():
        site.start_with(file, "client", name)
    site.start_with(server, "server", "main")
    site.wait_until(lambda: "reads colm.ask" in (site.folder / "coordinator.log").read_text())

    with site.as_caller():
        answer = site.ask("Who may do what?", {"rounds": 2})

    assert answer["status"] == "answered"
    assert sorted(answer["clients"]) == ["a", "ab"]
    assert site.processes["client-a"].poll() is None


def test_a_client_shows_in_flower_where_it_may_and_works_where_it_may_not(
    site: IsolatedSite,
) -> None:
    port = free_port()
    site.variables["FLOWER_UNAUTHENTICATED_API"] = "true"
    site.start("coordinator")
    site.start("server", "main")
    site.start("flower", "--port", str(port))
    log = site.folder / f"flower---port-{port}.log"
    site.wait_until(lambda: "Connected to" in log.read_text())
    site.start_with(site.add("client", "a"), "client", "a")
    site.start_with(site.add("client", "ab", "--no-flower"), "client", "ab")

    answer = site.ask("Who is seen?", {"rounds": 1})

    assert sorted(answer["clients"]) == ["a", "ab"]
    site.wait_until(lambda: "by='a'" in json.dumps(_drafts(port)))
    assert {task["worker"].split(".")[0] for task in _drafts(port)} == {"client-a"}
    assert "do not show in Flower" in (site.folder / "client-ab.log").read_text()


def _drafts(port: int) -> list[dict[str, str]]:
    return [t for t in _get(port, "tasks").values() if t["name"] == "colm.draft"]


def test_the_file_is_its_participants_alone_and_holds_one_secret(site: IsolatedSite) -> None:
    file = site.add("client", "a")

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = file.read_text()
    assert site.user("a") in broker_of(file)
    assert "coordinators-own" not in text
    assert "postgresql" not in text
    assert site.api_url.split(":")[2].split("@")[0] not in text
    assert str(site.folder) not in text


def test_a_name_is_added_once_and_other_peoples_users_are_left_alone(site: IsolatedSite) -> None:
    site.add("client", "a")
    told = site.manage("client", "add", "a", status=1)
    assert "has a user" in told
    assert "rotate" in told

    site.api.put_user(site.user("ab"), "somebody's", "monitoring")
    for what in ("rotate", "remove"):
        assert "left alone" in site.manage("client", what, "ab", status=1)
    assert site.api.get("users", site.user("ab"))["tags"] == ["monitoring"]


def test_a_queue_in_which_messages_wait_is_not_deleted_unless_forced(site: IsolatedSite) -> None:
    site.start("coordinator")
    site.add("client", "a")
    query = site.submit("Who is there?", {"rounds": 1})
    site.wait_until(lambda: query in site.statuses())
    site.wait_until(lambda: "1 messages" in site.colm("doctor"))

    refused = site.manage("client", "remove", "a", "--queues", status=1)

    assert "colm.draft.a (1)" in refused
    assert site.api.get("users", site.user("a")) is not None
    site.manage("client", "remove", "a", "--queues", "--force")
    assert site.api.get("users", site.user("a")) is None
    assert site.api.get("queues", site.api.vhost, "colm.draft.a") is None
    assert site.api.get("queues", site.api.vhost, "colm.draft.ab") is not None


def test_the_users_of_clients_are_listed(site: IsolatedSite) -> None:
    site.add("client", "a")
    site.add("server", "main")
    site.variables["COLM_MANAGEMENT"] = site.api_url

    (listed,) = json.loads(site.colm("client", "list", "--json"))

    assert listed == {"user": site.user("a"), "name": "a", "connections": 0, "configured": True}
    assert site.user("main") in site.colm("server", "list")
