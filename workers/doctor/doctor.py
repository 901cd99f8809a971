"""`colm doctor`: looks at everything a query needs, and says what to do about what it finds."""

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
    """What to look at."""

    #: Without the database, which participants do not have.
    broker_only: bool = False
    #: As this participant, on its machine; None is as a coordinator, or as whoever the user is.
    participant: str | None = None
    #: Load every model, instead of looking whether it is there.
    models: bool = False
    #: Ask every participant a short question, which needs all of the site.
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
    """Every finding; a check that cannot be done is a finding too."""
    found = settings()  # nothing can be looked at without them: their error is the command's
    asked = _asked(found, scope.participant)
    if scope.deep and (scope.broker_only or scope.participant is not None):
        raise SettingsError("--deep looks at a whole site: leave out --broker-only and --for")
    participant = scope.broker_only or scope.participant is not None
    yield from _settings(found)
    yield from attempt("disks", partial(machine.disks, found))
    if not participant:
        yield from attempt("database", partial(database.database, found))
    amqp = broker_of(found).amqp
    check_broker = partial(_rabbitmq, scope=scope, asked=asked) if amqp else _embedded
    yield from attempt("broker", partial(check_broker, found))
    if scope.participant is None:
        yield from attempt("queues", partial(checks_topology.readers, found))
    named = {name: table for (_, name), table in asked.items()}
    yield from attempt("models", partial(machine.models, found, named, load=scope.models))
    if scope.deep:
        yield from attempt("probe", partial(probe, found))


def attempt(about: str, check: Callable[[], Iterable[Finding]]) -> Findings:
    """The findings of a check; its failure to look is one, too."""
    try:
        yield from check()
    except (ColmError, OperationalError, AMQPError, OSError) as error:
        told = str(error) or repr(error)
        says_it = isinstance(error, CallerError) or LIMIT in told
        yield problem(about, told, "do what it says, then look again" if says_it else START)


def _asked(found: Settings, name: str | None) -> dict[tuple[Role, str], ParticipantSettings]:
    """The participants to look at. Raises SettingsError for a name that is none."""
    tables: dict[tuple[Role, str], ParticipantSettings] = {}
    tables |= {("client", n): table for n, table in found.clients.items()}
    tables |= {("server", n): table for n, table in found.servers.items()}
    if name is None:
        return tables
    kept = {key: table for key, table in tables.items() if key[1] == name}
    if not kept:
        names = [known for _, known in tables]
        raise SettingsError(f"there is no participant {name!r}{nearest(name, names)}")
    return kept


def _settings(found: Settings) -> Findings:
    yield ok(
        "settings",
        f"{len(found.clients)} clients, {len(found.servers)} servers, {broker_of(found).name}, "
        f"{found.shown_database}",
    )
    if found.broker_url.startswith("amqps") and not found.tls.verify:
        told = "tls.verify is off: whoever stands in between can read and change everything"
        yield warning("tls", told, "set tls.ca to the authority of the broker's certificate")


def _embedded(found: Settings) -> Findings:
    yield checks_topology.socket(found)


def _rabbitmq(
    found: Settings, scope: Scope, asked: dict[tuple[Role, str], ParticipantSettings]
) -> Findings:
    with ExitStack() as opened:
        connection = opened.enter_context(connected())
        yield checks_broker.version(connection)
        api = _management(found, opened)
        if api is not None and (alarms := checks_broker.alarms(api)).grade == "problem":
            yield alarms  # until it has passed the broker answers no publish
            return
        everybody = [*_asked(found, None)]
        if scope.participant is not None:
            own = [*asked]
        elif scope.broker_only:
            own = checks_broker.readable_by_us(connection, everybody)
        else:
            own = []
        for role, name in own:
            yield from checks_broker.rights_of_participant(connection, role, name, everybody)
        yield checks_broker.consumer_timeout(found, api)
        yield checks_broker.message_size(connection)
        if not own:
            yield checks_broker.rights_of_coordinator(connection)
            queues = checks_topology.wanted(found)
            yield from checks_topology.drift(connection, queues)
            if api is not None:
                yield from checks_topology.strangers(api, queues)
                yield from checks_topology.orphans(api, found)
                users = [account.user for account in accounts(api)]
                yield from checks_broker.limits(api, found, len(queues), users)
        if api is None:
            told = "not looked at: alarms, bindings, left-over queues, the broker's clock"
            yield ok("management", f"{told} (COLM_MANAGEMENT would let doctor look)")
            return
        yield alarms
        yield checks_broker.broker_clock(api, found.deadlines)


def _management(found: Settings, opened: ExitStack) -> Management | None:
    return None if found.management is None else opened.enter_context(management_of(found))


def _print(findings: Iterable[Finding]) -> None:
    console = Console()
    for f in findings:
        console.print(
            f"[{STYLE[f.grade]}]{f.grade:>8}[/]  {escape(f.about)}: {escape(f.found)}"
            + (f"\n          → {escape(f.do)}" if f.do else ""),
            highlight=False,
            soft_wrap=True,
        )
