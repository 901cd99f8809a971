"""A RabbitMQ that is limited, takes small messages, or is shared with another site."""

from __future__ import annotations

import contextlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pika
import pytest
from amqp.exceptions import PreconditionFailed
from kombu import Connection

from colm.models.errors import ColmError
from colm.tasks.broker.connection import QUEUE_LIMIT, declare_hint
from colm.tasks.broker.topology import Topology, declare
from colm.tasks.config.settings import BrokerLimits, Settings
from colm.workers.doctor import broker as checks_broker
from colm.workers.rabbitmq import users
from colm.workers.rabbitmq.management_api import Management, virtual_host
from colm.workers.rabbitmq.permission_probe import largest_message, waited_for
from colm.workers.rabbitmq.permissions import of_participant
from tests.provision import RabbitMQServer, VirtualHosts
from tests.services.isolated import COORDINATOR, IsolatedSite, isolated_site
from tests.services.test_doctor import declared, doctor


def limit(api: Management, what: str, whose: str, **limits: int) -> None:
    """Set limits of a vhost or a user; -1 is none."""
    for name, most in limits.items():
        path = (f"{what}-limits", whose, name.replace("_", "-"))
        api._send("PUT", path, {"value": most})


@pytest.fixture
def api(rabbitmq_url: str, rabbitmq_vhosts: VirtualHosts) -> Iterator[Management]:
    with Management(rabbitmq_vhosts.api_url, virtual_host(rabbitmq_url)) as found:
        yield found


@pytest.mark.parametrize(
    "connect",
    [
        lambda url: Connection(url).connect(),
        lambda url: pika.BlockingConnection(pika.URLParameters(url)),
    ],
)
def test_a_limit_on_connections_is_told_and_waited_out(
    rabbitmq_url: str,
    api: Management,
    connect: Callable[[str], Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    limit(api, "vhost", api.vhost, max_connections=1)
    first = pika.BlockingConnection(pika.URLParameters(rabbitmq_url))
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            limit(api, "vhost", api.vhost, max_connections=-1)

    found = Settings(broker=rabbitmq_url)
    with caplog.at_level(logging.WARNING):
        waited_for(found, lambda: connect(rabbitmq_url), sleep).close()
    first.close()
    assert pauses == [0.5, 1.0]
    assert "raise it with rabbitmqctl set_user_limits" in caplog.text
    assert "connection limit (1) is reached" in caplog.text


def test_a_limit_on_queues_is_no_reason_to_delete_any(rabbitmq_url: str, api: Management) -> None:
    limit(api, "vhost", api.vhost, max_queues=2)
    topology = Topology(limits=BrokerLimits(), clients=("ada",), servers=("main",))
    with Connection(rabbitmq_url) as connection, pytest.raises(PreconditionFailed) as caught:
        declare(connection.default_channel, topology.everything())
    assert declare_hint(caught.value) == QUEUE_LIMIT
    limit(api, "vhost", api.vhost, max_queues=-1)
    other = Topology(limits=BrokerLimits(delivery_limit=9), clients=("ada",), servers=("main",))
    with Connection(rabbitmq_url) as connection:
        declare(connection.default_channel, topology.everything())
        with pytest.raises(PreconditionFailed) as caught:
            declare(connection.default_channel, other.everything())
    assert declare_hint(caught.value).startswith("a queue exists with other arguments")


def test_doctor_finds_limits_that_are_too_low_and_no_others(api: Management) -> None:
    found = Settings(broker="amqp://host/colm")
    user = f"colm-ada-{api.vhost[-6:]}"
    api.put_user(user, "pw", "colm.client.ada")
    told = [*checks_broker.limits(api, found, 20, [user])]
    assert told == []
    limit(api, "vhost", api.vhost, max_connections=5, max_queues=10)
    limit(api, "user", user, max_connections=3, max_channels=1)
    told = [*checks_broker.limits(api, found, 20, [user])]
    limit(api, "vhost", api.vhost, max_connections=-1, max_queues=-1)
    api.delete_user(user)
    assert [finding.grade for finding in told] == ["problem"] * 4
    assert f"user {user} is 3; this site needs up to 4" in told[2].detail


@pytest.fixture
def elsewhere(rabbitmq_vhosts: VirtualHosts) -> Iterator[Management]:
    """The API as another site's operator sees it."""
    with (
        rabbitmq_vhosts.fresh() as url,
        Management(rabbitmq_vhosts.api_url, virtual_host(url)) as found,
    ):
        yield found


def logs_in(url: str, user: str, password: str) -> bool:
    host = url.rpartition("@")[2]
    try:
        pika.BlockingConnection(pika.URLParameters(f"amqp://{user}:{password}@{host}")).close()
    except pika.exceptions.AMQPConnectionError:
        return False
    return True


def test_a_user_of_another_site_is_left_alone_and_nothing_else_is_said(
    rabbitmq_url: str, api: Management, elsewhere: Management
) -> None:
    ada = users.account("client", "ada", f"colm-ada-{api.vhost[-6:]}")
    rights = of_participant("client", "ada", events=True)
    api.put_user(ada.user, "its-own", ada.tag)
    api.allow(ada.user, rights)
    told = f"it is another site's, which uses virtual host '{api.vhost}'.*--user names another"
    with pytest.raises(ColmError, match=told):
        users.add(elsewhere, ada, events=True)
    with pytest.raises(ColmError, match=told):
        users.rotate(elsewhere, ada, close=True)
    with pytest.raises(ColmError, match=told):
        users.remove(elsewhere, ada, queues=False, force=False)
    assert ada not in list(users.accounts(elsewhere))
    assert users.of_others(elsewhere) >= 1
    assert logs_in(rabbitmq_url, ada.user, "its-own")

    # Somebody let it into both: a new password would be the other site's, too.
    elsewhere.allow(ada.user, rights)
    with pytest.raises(ColmError, match=f"rights in virtual host '{elsewhere.vhost}' too"):
        users.rotate(api, ada, close=False)
    (first, _) = users.remove(elsewhere, ada, queues=False, force=False)
    assert first.startswith(f"took the rights of {ada.user} in this virtual host; the user stays")
    assert logs_in(rabbitmq_url, ada.user, "its-own")

    with pytest.raises(ColmError, match=r"has a user .* already: 'colm client rotate ada'"):
        users.add(api, ada, events=True)
    assert users.rotate(api, ada, close=False)
    assert not logs_in(rabbitmq_url, ada.user, "its-own")
    (first, _) = users.remove(api, ada, queues=False, force=False)
    assert first == f"removed the user {ada.user}"
    assert api.get("users", ada.user) is None


def test_a_user_that_was_made_in_part_or_by_hand_is_told_apart(api: Management) -> None:
    ada = users.account("client", "ada", f"colm-ada-{api.vhost[-6:]}")
    api.put_user(ada.user, "pw", "")
    for act in (
        lambda: users.add(api, ada, events=True),
        lambda: users.rotate(api, ada, close=False),
        lambda: users.remove(api, ada, queues=False, force=False),
    ):
        with pytest.raises(ColmError, match="was not made by 'colm client add ada'"):
            act()
    api.put_user(ada.user, "pw", ada.tag)
    with pytest.raises(ColmError, match=r"rights in no virtual host.*'colm client remove ada'"):
        users.rotate(api, ada, close=False)
    (told, _) = users.remove(api, ada, queues=False, force=False)
    assert told == f"removed the user {ada.user}"


#: The largest message that the broker of `limited_site` takes (bytes).
SMALL = 20_000


@pytest.fixture
def broker(private_rabbitmq: RabbitMQServer) -> RabbitMQServer:
    """A RabbitMQ that takes small messages only."""
    private_rabbitmq.ctl("eval", f"application:set_env(rabbit, max_message_size, {SMALL}).")
    return private_rabbitmq


@pytest.fixture
def site(tmp_path: Path, broker: RabbitMQServer, postgres_url: str) -> Iterator[IsolatedSite]:
    with (
        contextlib.closing(VirtualHosts(broker.url, broker.api_url)) as hosts,
        hosts.fresh() as admin,
        isolated_site(tmp_path, hosts, admin, postgres_url) as found,
    ):
        yield found


def connections(broker: RabbitMQServer) -> Counter[str]:
    """How many each user has, as the broker itself knows."""
    told = json.loads(broker.ctl("list_connections", "user", "--formatter", "json"))
    return Counter(connection["user"] for connection in told)


def test_a_site_with_limits_waits_for_room_and_says_what_is_too_large(
    site: IsolatedSite, broker: RabbitMQServer
) -> None:
    site.configure("a", "ab", **dict.fromkeys(("draft", "synthesize", "refine"), 120), query=600)
    declared(site, stop=False)
    files = {name: site.add("client", name) for name in ("a", "ab")}
    server = site.add("server", "main")
    limit(site.api, "user", site.user("a"), max_connections=3)
    for name, file in files.items():
        site.start_with(file, "client", name)
    site.start_with(server, "server", "main")
    waiting = site.folder / "client-a.log"
    site.wait_until(lambda: "user connection limit (3) is reached" in waiting.read_text())
    assert site.processes["client-a"].poll() is None
    assert "Traceback" not in waiting.read_text()
    limit(site.api, "user", site.user("a"), max_connections=4)

    answers = site.python(
        "import json\nfrom colm.tasks import ask\n"
        "asked = [ask.delay(f'Why {n}?', rounds=1) for n in range(12)]\n"
        "print(json.dumps([one.get(timeout=120)['clients']['a']['status'] for one in asked]))",
        timeout=180,
    )
    assert answers == ["refined"] * 12
    counted = connections(broker)
    assert {counted[site.user(name)] for name in ("a", "ab", "main")} == {
        checks_broker.PARTICIPANT_CONNECTIONS
    }
    assert counted[site._user(COORDINATOR)] <= checks_broker.COORDINATOR_CONNECTIONS

    told = doctor(site, "--deep")
    assert [told[f"probe{of}"]["grade"] for of in ("", " of a", " of ab", " of main")] == ["ok"] * 4
    assert told["max_message_size"]["grade"] == "problem"
    assert "limits" not in told

    name, text = site.error_of(f"ask.delay({'x' * 30_000!r})")
    assert (name, f"configured max size {SMALL}" in text) == ("TooLarge", True)
    answer = site.ask("x" * 15_000, {"rounds": 1})
    assert answer["status"] == "answered"
    assert "Unsent: TooLarge" in json.dumps(answer)
    assert "nothing came" not in json.dumps(answer)

    with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
        assert largest_message(connection, SMALL + 1) == SMALL
        assert largest_message(connection, SMALL) is None
