"""One `colm.toml` and `COLM_*` variables, read once, whole and loudly; nothing else reads them.

Where the file is: `COLM_CONFIG`, else `./colm.toml`, else `colm/colm.toml` in `XDG_CONFIG_HOME`,
else none (the built-in defaults: an embedded stack with three clients and one server on the
quickstart model). A variable overrides one value of the file: `COLM_BROKER`, `COLM_DATABASE`,
`COLM_HOME`, and with `__` between levels `COLM_DEADLINES__DRAFT=30` or
`COLM_SERVERS__MAIN__ENGINE__MODEL=/models/qwen`. An unknown key or variable is an error that names
the nearest valid one, but for the variables that Kubernetes sets for services.

Where neither names a broker or a database and `colm up` runs on this machine, its own are used, so
that `ask.delay()` works from any shell.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self, get_args, get_origin
from urllib.parse import quote

from pydantic import (
    BaseModel,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from colm.models.adapters import configured_adapter
from colm.models.engine_settings import EngineSettings
from colm.models.errors import InvalidAsk, SettingsError
from colm.models.images import MAX_BYTES, MAX_PIXELS
from colm.models.messages import Deadlines, Message, Name, Participant, Role, Sampling
from colm.models.roster import Roster, check_options, nearest
from colm.models.urls import BrokerUrl, DatabaseUrl, HttpUrl, shown
from colm.tasks.config.paths import (
    absolute,
    absolute_sqlite,
    broker_socket,
    checked_sqlite,
    sqlite_url,
    xdg_defaults,
)
from colm.tasks.config.running_stack import running_stack
from colm.tasks.config.service_links import is_service_link
from colm.tasks.config.sources import current_folder, file_of, from_environment, merge, read_file
from colm.tasks.config.time_windows import parse_moment
from colm.tasks.config.tls import TlsSettings

#: Words of `colm client WORD` and `colm server WORD`, which can be no participant's name.
RESERVED = {"add", "list", "remove", "rotate", "run"}


class ParticipantSettings(Message):
    """A `[clients.NAME]` or `[servers.NAME]` table."""

    persona: str = Field(default="", max_length=4_000)
    domain: str = Field(default="", max_length=400)
    #: Whether its model takes images.
    sees: bool = False
    #: Whether it is told what others saw, where it does not see itself.
    reads_descriptions: bool = False
    sampling: Sampling = Sampling()
    engine: EngineSettings = EngineSettings()

    @field_validator("sampling")
    @classmethod
    def _no_seed(cls, sampling: Sampling) -> Sampling:
        if sampling.seed is not None:
            raise ValueError("a seed belongs to a query: ask.delay(..., seed=7)")
        return sampling

    def participant(self, name: str, role: Role) -> Participant:
        told = {field: getattr(self, field) for field in ParticipantSettings.model_fields}
        del told["engine"]
        return Participant(name=name, role=role, **told)


class BrokerLimits(Message):
    """The `[limits]` table: bounds that keep one caller or message from hurting the rest."""

    #: Messages a work queue holds before it refuses more.
    queue_length: int = Field(default=100_000, ge=100)
    #: Redeliveries of one message before it is dead-lettered.
    delivery_limit: int = Field(default=5, ge=1, le=100)
    #: Dead letters kept for `colm dead replay`; the oldest go first, and stay in the record.
    parked_letters: int = Field(default=10_000, ge=10, le=1_000_000)
    #: Submissions of one participant that each coordinator process takes per second.
    submissions_per_second: float = Field(default=500.0, gt=0, le=1_000_000)
    #: How often a step may come back from workers that died before it is run alone, and how often
    #: from a run alone before it is recorded as failed.
    max_redeliveries: int = Field(default=2, ge=1, le=16)
    max_isolated_runs: int = Field(default=1, ge=1, le=16)
    #: Seconds without a sign of progress from an engine that has work, until its process ends.
    engine_stall_timeout: float = Field(default=120.0, ge=1, le=86_400)
    #: Seconds that a process may take to finish its work when it is stopped; the rest it hands
    #: back.
    shutdown_grace: float = Field(default=20.0, ge=0, le=3_600)
    #: Seconds a waiting caller gives an unheard-of query before it checks who listens.
    no_consumer_timeout: float = Field(default=10.0, gt=0)
    #: Seconds between a worker's signs of life; without two of them RabbitMQ takes it for dead.
    heartbeat: int = Field(default=30, ge=5, le=600)


class LogSettings(Message):
    """The `[log]` table: what processes log, and how large the logs of `colm up` grow."""

    #: info: a line a query. debug: a line for each task and step too.
    level: Literal["debug", "info", "warning", "error"] = "info"
    #: `colm up` rotates a log that is larger.
    max_bytes: int = Field(default=10_000_000, ge=10_000)
    #: Rotated logs to keep, of each process.
    backups: int = Field(default=2, ge=1, le=100)


class ScheduleSettings(Message):
    """A `[schedules.NAME]` table: an evaluation that Celery beat orders."""

    #: The evaluation's TOML file, read when it is due; relative to where beat was started.
    evaluate: str = Field(default="evaluation.toml", min_length=1, max_length=4_000)
    #: Days, time and time zone, as in "weekdays 22:00 Europe/Berlin".
    when: str = "weekdays 22:00"

    @field_validator("when")
    @classmethod
    def _readable(cls, when: str) -> str:
        try:
            parse_moment(when)
        except InvalidAsk as error:
            raise ValueError(str(error)) from error
        return when


class ImageSettings(Message):
    """The `[images]` table: where images lie, and what is taken."""

    #: The address of `colm images`; None is a folder in `home`, for a site on one machine.
    url: HttpUrl | None = Field(default=None, repr=False)
    #: Where `colm images` keeps them.
    keep: Literal["folder", "database"] = "folder"
    #: A file that callers, coordinators and `colm images` share: tokens are signed with it.
    secret_file: str | None = None
    max_bytes: int = Field(default=MAX_BYTES, ge=1_000, le=1_000_000_000)
    #: Width times height.
    max_pixels: int = Field(default=MAX_PIXELS, ge=1_000, le=1_000_000_000)

    @field_validator("secret_file")
    @classmethod
    def _absolute(cls, path: str | None) -> str | None:
        return str(absolute(path)) if path else path


class AuditSettings(Message):
    """The `[audit]` table: the key that seals the record, and how often it does."""

    #: The file with the site's private key; None is `audit.key` in `home`.
    key: str | None = None
    #: Minutes between two seals of a coordinator on a machine that has the key; 0: never.
    seal_minutes: float = Field(default=60.0, ge=0, le=10_080)

    @field_validator("key")
    @classmethod
    def _absolute(cls, path: str | None) -> str | None:
        return str(absolute(path)) if path else path


def _default_clients() -> dict[str, ParticipantSettings]:
    personas = {
        "ada": ("You are a careful mathematician who checks every step.", "mathematics and logic"),
        "bo": ("You are a practical engineer who looks for what works.", "engineering"),
        "cy": ("You are a curious scientist who asks what the evidence says.", "natural science"),
    }
    return {
        name: ParticipantSettings(persona=persona, domain=domain)
        for name, (persona, domain) in personas.items()
    }


def default_servers() -> dict[str, ParticipantSettings]:
    """The servers of a site whose file names none."""
    return {"main": ParticipantSettings(sampling=Sampling(temperature=0.3))}


class Settings(Message):
    """All that a user may say."""

    #: amqp://, amqps:// or redis+socket://; None is the embedded broker of `colm up`.
    broker: BrokerUrl | None = Field(default=None, repr=False)
    #: postgresql+psycopg2:// or sqlite:///; None is a SQLite file in `home`.
    database: DatabaseUrl | None = Field(default=None, repr=False)
    #: RabbitMQ's management API with an administrator's login; only `colm client add` and the like,
    #: and `colm doctor`, use it.
    management: HttpUrl | None = Field(default=None, repr=False)
    #: Where the embedded stack keeps its files.
    home: Path = Field(default=Path("~/.local/state/colm"), validate_default=True)
    #: Where downloaded and converted models are kept.
    cache: Path = Field(default=Path("~/.cache/colm"), validate_default=True)
    clients: dict[Name, ParticipantSettings] = Field(default_factory=_default_clients)
    servers: dict[Name, ParticipantSettings] = Field(default_factory=default_servers)
    deadlines: Deadlines = Deadlines()
    #: Default options by strategy, as in `[strategies.colm]`.
    strategies: dict[str, dict[str, Any]] = Field(default_factory=dict)
    limits: BrokerLimits = BrokerLimits()
    schedules: dict[Name, ScheduleSettings] = Field(default_factory=dict)
    log: LogSettings = LogSettings()
    audit: AuditSettings = AuditSettings()
    images: ImageSettings = ImageSettings()
    tls: TlsSettings = TlsSettings()
    #: Coordinator threads, in each coordinator process.
    coordinator_threads: int = Field(default=4, ge=1, le=128)
    #: Whether Flower and logs may show questions and prompts.
    show_texts: bool = False

    @field_validator("home", "cache")
    @classmethod
    def _absolute(cls, folder: Path, info: ValidationInfo) -> Path:
        try:
            return absolute(folder)
        except ValueError as error:
            named = f"COLM_{str(info.field_name).upper()}"
            raise ValueError(f"{error}, or {named} to a folder of this user's") from error

    @field_validator("database")
    @classmethod
    def _absolute_file(cls, url: str | None) -> str | None:
        return None if url is None else absolute_sqlite(checked_sqlite(url), current_folder())

    @field_validator("strategies")
    @classmethod
    def _known(cls, strategies: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for strategy, options in strategies.items():
            try:
                check_options(strategy, options)
            except InvalidAsk as error:
                raise ValueError(str(error)) from error
        return strategies

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        # One name for both would be one participant in a query's record.
        if both := sorted(self.clients.keys() & self.servers.keys()):
            raise ValueError(f"{both[0]!r} is both a client and a server; rename one")
        if taken := sorted(RESERVED & (self.clients.keys() | self.servers.keys())):
            raise ValueError(f"{taken[0]!r} is a word of 'colm client' and no name; rename it")
        return self

    @property
    def embedded(self) -> bool:
        """True on the embedded broker, which has no confirms, dead letters or permissions."""
        return self.broker_url.startswith("redis")

    @property
    def broker_url(self) -> str:
        if self.broker is not None:
            return self.broker
        return f"redis+socket://{quote(str(broker_socket(self.home)))}?virtual_host=0"

    @property
    def database_url(self) -> str:
        return self.database or sqlite_url(self.home / "record.sqlite")

    @property
    def shown_database(self) -> str:
        """The database without its password."""
        return shown(self.database_url)

    def adapter_of(self, participant: str) -> str | None:
        """The digest of a participant's adapter, or its name where its files are elsewhere."""
        table = self.clients if participant in self.clients else self.servers
        engine = table[participant].engine if participant in table else EngineSettings()
        return None if engine.adapter is None else configured_adapter(engine.adapter)

    @property
    def roster(self) -> Roster:
        return Roster(
            clients={n: c.participant(n, "client") for n, c in self.clients.items()},
            servers={n: s.participant(n, "server") for n, s in self.servers.items()},
            deadlines=self.deadlines,
            defaults=self.strategies,
        )


@cache
def settings() -> Settings:
    """The settings of this process; read at the first call, never again."""
    return load(os.environ, current_folder())


def override(*, broker: str | None, database: str | None) -> None:
    """Set what the command line says, before anything reads the settings of this process."""
    if broker is not None:
        os.environ["COLM_BROKER"] = broker
    if database is not None:
        os.environ["COLM_DATABASE"] = database
    settings.cache_clear()


def load(environment: Mapping[str, str], folder: Path, *, running: bool = True) -> Settings:
    """Settings from `environment` and the file it or `folder` names. Raises SettingsError.

    Without `running`, what a running stack uses does not count.
    """
    path = file_of(environment, folder)
    values = {} if path is None else read_file(path)
    # A variable changes one value of a default participant, it does not replace them all.
    defaults = {"clients": _default_clients, "servers": default_servers}
    overrides = from_environment(environment, _is_key)
    low: dict[str, Any] = dict(xdg_defaults(environment))
    for key in defaults.keys() & overrides.keys() - values.keys():
        low[key] = {name: one.model_dump(mode="json") for name, one in defaults[key]().items()}
    values = merge(merge(low, values), overrides)
    read = [] if path is None else [str(path)]
    found = _validate(values, source=" and ".join([*read, "COLM_* variables"]))
    return _with_running_stack(found) if running else found


def of_new_stack() -> Settings:
    """The settings of the process that is to be the stack; those of another do not count."""
    return load(os.environ, current_folder(), running=False)


def secret(name: str) -> str:
    """The value of the environment variable `name`; SettingsError when it is not set."""
    value = os.environ.get(name)
    if not value:
        raise SettingsError(f"the environment variable {name} is not set; it holds an API key")
    return value


def environment_with(**values: str) -> dict[str, str]:
    """This process's environment with `values` set, for a child process."""
    return {**os.environ, **values}


def prepare_for_torch() -> None:
    """Set what torch and tokenizers read at their import; call it before either.

    Passive waiting keeps threads that have nothing to do off cores that others need: on two shared
    cores it made a training step 7 times faster.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def forget_service_links(prefix: str) -> None:
    """Take the variables that are set for services, and begin so, out of this process."""
    for variable, value in list(os.environ.items()):
        if variable.startswith(prefix) and is_service_link(variable, value):
            del os.environ[variable]


def _validate(values: dict[str, Any], source: str) -> Settings:
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        faults = [
            _fault([str(part) for part in e["loc"]], e["type"], e["msg"])
            for e in error.errors(include_url=False, include_input=False)
        ]
        # Not `from error`: pydantic shows the values, and a URL may hold a password.
        raise SettingsError(f"{source}: " + "; ".join(faults)) from None


def _fault(loc: list[str], kind: str, message: str) -> str:
    where = ".".join(loc)
    if kind != "extra_forbidden":
        return f"{where}: {message.removeprefix('Value error, ')}"
    variable = "COLM_" + "__".join(loc).upper()
    return f"unknown key {where!r} (or variable {variable}){nearest(loc[-1], _keys_at(loc[:-1]))}"


def _keys_at(path: Sequence[str]) -> list[str]:
    """The valid keys of the table at `path`."""
    kind: Any = Settings
    for key in path:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = kind.model_fields[key].annotation
        elif get_origin(kind) is dict:
            kind = get_args(kind)[1]
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return list(kind.model_fields)
    return []


def _is_key(path: Sequence[str]) -> bool:
    try:
        return path[-1] in _keys_at(path[:-1])
    except KeyError:
        return False


def _with_running_stack(found: Settings) -> Settings:
    if found.broker is not None and found.database is not None:
        return found
    stack = running_stack(found.home)
    if stack is None:
        return found
    broker, database = stack
    return found.model_copy(
        update={"broker": found.broker or broker, "database": found.database or database}
    )
