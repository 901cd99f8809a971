"""Real services for the tests that ask for them by fixture, each private to the session or test.

COLM_TEST_DATABASE_URL and COLM_TEST_BROKER_URL name services to use instead of private ones: a
superuser's URL of a PostgreSQL database, an administrator's URL of a RabbitMQ virtual host (with
the management plugin, at COLM_TEST_BROKER_API unless it is port 15672 of the same host).

Where a service is not installed its tests are skipped, or failed where CI is set.

Under pytest-xdist the processes of the run share one private service of each kind, and tests with
the marker `alone` come first, while the other processes wait.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from colm.db.schema import migrate
from colm.workers.local_stack.embedded_broker import EmbeddedBroker
from tests.provision import (
    Databases,
    Lender,
    Lent,
    PostgresServer,
    RabbitMQServer,
    ServiceMissing,
    Turns,
    VirtualHosts,
    lent,
    postgres,
    rabbitmq,
)

_MARKERS = {
    "postgres": {"postgres_installed", "postgres_databases"},
    "rabbitmq": {"rabbitmq_installed", "rabbitmq_vhosts"},
}

_LENDER = pytest.StashKey[Lender]()
_TURNS = pytest.StashKey[Turns]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("colm")
    group.addoption("--messages", type=int, default=20_000, help="of the nightly fuzz test")
    group.addoption("--queries", type=int, default=50, help="in a wave of tests/chaos")


@pytest.fixture
def figures(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Adds a text to the terminal summary, also from a process of pytest-xdist."""
    return lambda text: record_property("figures", text)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    results = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    reports = [report for report in results if report.when == "call"]
    texts = [text for r in reports for name, text in r.user_properties if name == "figures"]
    if texts:
        terminalreporter.section("figures")
        terminalreporter.write_line("\n".join(texts))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Called by pytest-xdist in the process that controls the others, once for each of those."""
    stash = node.config.stash
    if _LENDER not in stash:
        stash[_LENDER] = Lender().__enter__()
    node.workerinput["lender"] = stash[_LENDER].address


def _lender_of(config: pytest.Config) -> str | None:
    """Where a process that pytest-xdist started finds its lender; None in all others."""
    address: str | None = getattr(config, "workerinput", {}).get("lender")
    return address


def pytest_configure(config: pytest.Config) -> None:
    if address := _lender_of(config):
        config.stash[_TURNS] = Turns(Path(address).parent)


def pytest_unconfigure(config: pytest.Config) -> None:
    if turns := config.stash.get(_TURNS, None):
        turns.close()
    if lender := config.stash.get(_LENDER, None):
        lender.__exit__()


def _alone(item: pytest.Item | None) -> bool:
    return item is not None and item.get_closest_marker("alone") is not None


def _is_twin(item: pytest.Item) -> bool:
    """Whether it repeats on the embedded stack a journey that RabbitMQ and PostgreSQL carry."""
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    is_embedded = parameters.get("site") == "embedded"
    return is_embedded and item.get_closest_marker("transport") is None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        needs = set(getattr(item, "fixturenames", ()))
        for marker, fixtures in _MARKERS.items():
            if needs & fixtures:
                item.add_marker(marker)
        if _is_twin(item):
            item.add_marker("nightly")
    if _lender_of(config):
        items.sort(key=_alone, reverse=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keeps half a character in a test's output from ending the process that sends its report."""
    report = yield
    report.sections = [(of, text.encode(errors="replace").decode()) for of, text in report.sections]
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)  # outside the test's time limit
def pytest_runtest_protocol(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, bool, bool]:
    turns = item.config.stash.get(_TURNS, None)
    if turns is None:
        return (yield)
    turns.take(alone=_alone(item))
    try:
        return (yield)
    finally:
        turns.give_back(keep=_alone(item) and _alone(nextitem))


def _require(find_programs: Callable[[], object]) -> None:
    try:
        find_programs()
    except ServiceMissing as missing:
        if os.environ.get("CI"):
            pytest.fail(f"NOT TESTED: {missing}", pytrace=False)
        pytest.skip(f"NOT TESTED: {missing}")


@pytest.fixture(scope="session")
def postgres_installed() -> None:
    _require(postgres.binaries)


@pytest.fixture(scope="session")
def postgres_server(request: pytest.FixtureRequest, postgres_installed: None) -> Iterator[Lent]:
    """The test run's own PostgreSQL: not to be stopped, others share it."""
    with lent("postgres", _lender_of(request.config)) as server:
        yield server


@pytest.fixture
def private_postgres(postgres_installed: None) -> Iterator[PostgresServer]:
    """A durable PostgreSQL for this test alone, to be stopped, killed and restarted."""
    with PostgresServer(durable=True) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_databases(request: pytest.FixtureRequest) -> Iterator[Databases]:
    url = os.environ.get("COLM_TEST_DATABASE_URL")
    databases = Databases(url or request.getfixturevalue("postgres_server").url, migrate.upgrade)
    yield databases
    databases.close()


@pytest.fixture
def postgres_url(postgres_databases: Databases) -> Iterator[str]:
    """A fresh database with the newest tables."""
    with postgres_databases.migrated() as url:
        yield url


@pytest.fixture
def empty_postgres_url(postgres_databases: Databases) -> Iterator[str]:
    """A fresh database without any table."""
    with postgres_databases.empty() as url:
        yield url


@pytest.fixture(scope="session")
def rabbitmq_installed() -> None:
    _require(rabbitmq.programs)


@pytest.fixture(scope="session")
def rabbitmq_server(request: pytest.FixtureRequest, rabbitmq_installed: None) -> Iterator[Lent]:
    """The test run's own RabbitMQ: not to be stopped, others share it."""
    with lent("rabbitmq", _lender_of(request.config)) as server:
        yield server


@pytest.fixture
def private_rabbitmq(rabbitmq_installed: None) -> Iterator[RabbitMQServer]:
    """A RabbitMQ for this test alone, to be stopped, killed and restarted."""
    with RabbitMQServer() as server:
        yield server


@pytest.fixture(scope="session")
def rabbitmq_vhosts(request: pytest.FixtureRequest) -> Iterator[VirtualHosts]:
    if url := os.environ.get("COLM_TEST_BROKER_URL"):
        hosts = VirtualHosts(url, os.environ.get("COLM_TEST_BROKER_API"))
    else:
        server: Lent = request.getfixturevalue("rabbitmq_server")
        hosts = VirtualHosts(server.url, server.api_url)
    yield hosts
    hosts.close()


@pytest.fixture
def rabbitmq_url(rabbitmq_vhosts: VirtualHosts) -> Iterator[str]:
    """A fresh virtual host, with a user who may do everything in it."""
    with rabbitmq_vhosts.fresh() as url:
        yield url


@pytest.fixture
def embedded_broker() -> Iterator[EmbeddedBroker]:
    # Not under tmp_path: a unix socket's path is short.
    with (
        tempfile.TemporaryDirectory(prefix="colm-") as folder,
        EmbeddedBroker(Path(folder)) as broker,
    ):
        yield broker


@pytest.fixture
def embedded_broker_url(embedded_broker: EmbeddedBroker) -> str:
    return embedded_broker.url


@pytest.fixture
def empty_sqlite_url(tmp_path: Path) -> str:
    """A database file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'empty.db'}"


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrate.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A fresh database file with the newest tables."""
    path = tmp_path / "colm.db"
    shutil.copyfile(sqlite_template, path)
    return f"sqlite:///{path}"
