"""`colm doctor`: checks everything that a query needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial

from kombu.exceptions import OperationalError
from pika.exceptions import AMQPError
from rich.console import Console
from rich.markup import escape

from colm.models.errors import CallerError, ColmError, SettingsError
from colm.models.messages import Role
from colm.models.roster import nearest
from colm.tasks.broker.capabilities import broker_of
from colm.tasks.broker.connection import LIMIT
from colm.tasks.broker.queue_stats import connected
from colm.tasks.config.settings import ParticipantSettings, Settings, settings
from colm.workers.console import print_json
from colm.workers.doctor import broker as checks_broker
from colm.workers.doctor import database, machine
from colm.workers.doctor import queues as checks_topology
from colm.workers.doctor.findings import Finding, Findings, Grade, ok, problem, warning
from colm.workers.doctor.probe import probe
from colm.workers.rabbitmq.management_api import Management, management_of
from colm.workers.rabbitmq.users import accounts

STYLE: dict[Grade, str] = {"ok": "green", "warning": "yellow", "problem": "red"}
START = "start it, or correct its address in colm.toml or the COLM_* variables"


@dataclass(frozen=True, kw_only=True)
class Scope:
    """The checks to run."""

    #: Skip the database: participants have no access.
    broker_only: bool = False
    #: Check as this participant; None: as a coordinator, or by the user's permissions.
    participant: str | None = None
    #: Load every model.
    models: bool = False
    #: Ask every participant a short question.
    deep: bool = False


def run_doctor(scope: Scope, *, as_json: bool) -> int:
    """Print every finding; 1 if any is a problem, else 0."""
    findings = list(examine(scope))
    if as_json:
        print_json([asdict(f) for f in findings])
    else:
        _print(findings)
    return int(any(f.grade == "problem" for f in findings))


def examine(scope: Scope) -> Iterator[Finding]:
    """Every finding. A check that fails to run is a finding too."""
    config = settings()  # an error ends the command: every check needs them
    participants = _selected(config, scope.participant)
    if scope.deep and (scope.broker_only or scope.participant is not None):
        raise SettingsError("--deep looks at a whole site: leave out --broker-only and --for")
    participant = scope.broker_only or scope.participant is not None
    yield from _settings(config)
    yield from attempt("disks", partial(machine.disks, config))
    if not participant:
        yield from attempt("database", partial(database.database, config))
    amqp = broker_of(config).amqp
    check_broker = partial(_rabbitmq, scope=scope, participants=participants) if amqp else _embedded
    yield from attempt("broker", partial(check_broker, config))
    if scope.participant is None:
        yield from attempt("queues", partial(checks_topology.readers, config))
    named = {name: table for (_, name), table in participants.items()}
    yield from attempt("models", partial(machine.models, config, named, load=scope.models))
    if scope.deep:
        yield from attempt("probe", partial(probe, config))


def attempt(about: str, check: Callable[[], Iterable[Finding]]) -> Findings:
    """The findings of a check, or one that it failed to run."""
    try:
        yield from check()
    except (ColmError, OperationalError, AMQPError, OSError) as error:
        detail = str(error) or repr(error)
        actionable = isinstance(error, CallerError) or LIMIT in detail
        yield problem(
            about, detail, "follow the message, then run colm doctor again" if actionable else START
        )


def _selected(config: Settings, name: str | None) -> dict[tuple[Role, str], ParticipantSettings]:
    """The participants to check. Raises SettingsError for an unknown name."""
    tables: dict[tuple[Role, str], ParticipantSettings] = {}
    tables |= {("client", n): table for n, table in config.clients.items()}
    tables |= {("server", n): table for n, table in config.servers.items()}
    if name is None:
        return tables
    selected = {key: table for key, table in tables.items() if key[1] == name}
    if not selected:
        names = [participant for _, participant in tables]
        raise SettingsError(f"there is no participant {name!r}{nearest(name, names)}")
    return selected


def _settings(config: Settings) -> Findings:
    yield ok(
        "settings",
        f"{len(config.clients)} clients, {len(config.servers)} servers, {broker_of(config).name}, "
        f"{config.shown_database}",
    )
    if config.broker_url.startswith("amqps") and not config.tls.verify:
        detail = "tls.verify is off: a man in the middle can read and change every message"
        yield warning("tls", detail, "set tls.ca to the authority of the broker's certificate")


def _embedded(config: Settings) -> Findings:
    yield checks_topology.socket(config)


def _rabbitmq(
    config: Settings, scope: Scope, participants: dict[tuple[Role, str], ParticipantSettings]
) -> Findings:
    with ExitStack() as opened:
        connection = opened.enter_context(connected())
        yield checks_broker.version(connection)
        api = _management(config, opened)
        if api is not None and (alarms := checks_broker.alarms(api)).grade == "problem":
            yield alarms  # the broker confirms no publish until the alarm clears
            return
        everybody = [*_selected(config, None)]
        if scope.participant is not None:
            own = [*participants]
        elif scope.broker_only:
            own = checks_broker.readable_by_us(connection, everybody)
        else:
            own = []
        for role, name in own:
            yield from checks_broker.rights_of_participant(connection, role, name, everybody)
        yield checks_broker.consumer_timeout(config, api)
        yield checks_broker.message_size(connection)
        if not own:
            yield checks_broker.rights_of_coordinator(connection)
            queues = checks_topology.declared_queues(config)
            yield from checks_topology.drift(connection, queues)
            if api is not None:
                yield from checks_topology.unexpected(api, queues)
                yield from checks_topology.orphans(api, config)
                users = [account.user for account in accounts(api)]
                yield from checks_broker.limits(api, config, len(queues), users)
        if api is None:
            detail = "not checked: alarms, bindings, left-over queues, the broker's clock"
            yield ok("management", f"{detail} (needs COLM_MANAGEMENT)")
            return
        yield alarms
        yield checks_broker.broker_clock(api, config.deadlines)


def _management(config: Settings, opened: ExitStack) -> Management | None:
    return None if config.management is None else opened.enter_context(management_of(config))


def _print(findings: Iterable[Finding]) -> None:
    console = Console()
    for f in findings:
        console.print(
            f"[{STYLE[f.grade]}]{f.grade:>8}[/]  {escape(f.about)}: {escape(f.detail)}"
            + (f"\n          → {escape(f.do)}" if f.do else ""),
            highlight=False,
            soft_wrap=True,
        )
