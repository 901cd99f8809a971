"""Settings of a site, from one `colm.toml` and `COLM_*` variables; read once per process.

The file is `COLM_CONFIG`, else `./colm.toml`, else `colm/colm.toml` in `XDG_CONFIG_HOME`, else
none. The defaults are an embedded stack with three clients and one server on the quickstart model.
A variable overrides one value of the file: `COLM_BROKER`, and with `__` between levels
`COLM_SERVERS__MAIN__ENGINE__MODEL=/models/qwen`. An unknown key or variable is an error that names
the nearest; service links of Kubernetes are ignored.

Without a broker or a database in them, those of a `colm up` on this machine are used.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import quote

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from colm.models.engine_settings import EngineSettings
from colm.models.errors import InvalidAsk, SettingsError
from colm.models.images import MAX_BYTES, MAX_PIXELS
from colm.models.messages import Deadlines, Message, Name, Participant, Role, Sampling
from colm.models.roster import Roster, check_options
from colm.models.urls import BrokerUrl, DatabaseUrl, HttpUrl, redact
from colm.tasks.config.paths import (
    AbsolutePath,
    absolute,
    absolute_sqlite,
    broker_socket,
    sqlite_url,
    validate_sqlite_url,
    xdg_defaults,
)
from colm.tasks.config.running_stack import running_stack
from colm.tasks.config.service_links import is_service_link
from colm.tasks.config.sources import current_folder, file_of, from_environment, merge, read_file
from colm.tasks.config.time_windows import parse_moment
from colm.tasks.config.tls import TlsSettings
from colm.tasks.config.validation import describe, keys_at

#: Subcommands of `colm client` and `colm server`, which are no participants' names.
RESERVED = {"add", "list", "remove", "rotate", "run"}


class ParticipantSettings(Message):
    """A `[clients.NAME]` or `[servers.NAME]` table."""

    persona: str = Field(default="", max_length=4_000)
    domain: str = Field(default="", max_length=400)
    #: Whether its model accepts images.
    sees: bool = False
    #: Whether a model without vision gets the image descriptions of others.
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
        fields = {field: getattr(self, field) for field in ParticipantSettings.model_fields}
        del fields["engine"]
        return Participant(name=name, role=role, **fields)


class BrokerLimits(Message):
    """The `[limits]` table: bounds on callers, messages and processes."""

    #: Maximum length of a work queue, which then refuses publishes.
    queue_length: int = Field(default=100_000, ge=100)
    #: Redeliveries of a message before it is dead-lettered.
    delivery_limit: int = Field(default=5, ge=1, le=100)
    #: Maximum length of colm.parked, which drops the oldest; the record holds all.
    parked_letters: int = Field(default=10_000, ge=10, le=1_000_000)
    #: Rate limit of one participant's submissions in each coordinator process (per second).
    submissions_per_second: float = Field(default=500.0, gt=0, le=1_000_000)
    #: Redeliveries of a step before it runs isolated, and isolated runs before it fails.
    max_redeliveries: int = Field(default=2, ge=1, le=16)
    max_isolated_runs: int = Field(default=1, ge=1, le=16)
    #: Seconds without progress of a busy engine, until its process ends.
    engine_stall_timeout: float = Field(default=120.0, ge=1, le=86_400)
    #: Seconds to finish running tasks on SIGTERM; the rest is redelivered.
    shutdown_grace: float = Field(default=20.0, ge=0, le=3_600)
    #: Seconds that `get` waits for an unrecorded query before it checks for consumers.
    no_consumer_timeout: float = Field(default=10.0, gt=0)
    #: Seconds of the AMQP heartbeat; RabbitMQ closes a connection after two missed ones.
    heartbeat: int = Field(default=30, ge=5, le=600)


class LogSettings(Message):
    """The `[log]` table: log level, and rotation of the logs of `colm up`."""

    #: info: one line a query. debug: also one line for each task and step.
    level: Literal["debug", "info", "warning", "error"] = "info"
    #: Size at which `colm up` rotates a log.
    max_bytes: int = Field(default=10_000_000, ge=10_000)
    #: Rotated logs of each process.
    backups: int = Field(default=2, ge=1, le=100)


class ScheduleSettings(Message):
    """A `[schedules.NAME]` table: an evaluation that Celery beat starts."""

    #: The evaluation's TOML file, read when it is due; relative to beat's current folder.
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
    """The `[images]` table: the image store, and limits on images."""

    #: URL of `colm images`; None is a folder in `home`, for a site on one machine.
    url: HttpUrl | None = Field(default=None, repr=False)
    #: Storage of `colm images`.
    keep: Literal["folder", "database"] = "folder"
    #: File with the key for tokens, shared by callers, coordinators and `colm images`.
    secret_file: AbsolutePath | None = None
    max_bytes: int = Field(default=MAX_BYTES, ge=1_000, le=1_000_000_000)
    #: Width times height.
    max_pixels: int = Field(default=MAX_PIXELS, ge=1_000, le=1_000_000_000)


class AuditSettings(Message):
    """The `[audit]` table: the signing key of the record's checkpoints, and their interval."""

    #: File of the site's private key; None is `audit.key` in `home`.
    key: AbsolutePath | None = None
    #: Minutes between two checkpoints of a coordinator that has the key; 0: never.
    checkpoint_minutes: float = Field(default=60.0, ge=0, le=10_080)


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
    """The default servers."""
    return {"main": ParticipantSettings(sampling=Sampling(temperature=0.3))}


class Settings(Message):
    """All settings of a site."""

    #: amqp://, amqps:// or redis+socket://; None is the embedded broker of `colm up`.
    broker: BrokerUrl | None = Field(default=None, repr=False)
    #: postgresql+psycopg2:// or sqlite:///; None is a SQLite file in `home`.
    database: DatabaseUrl | None = Field(default=None, repr=False)
    #: RabbitMQ's management API with an administrator's login, for `colm client` and `colm doctor`.
    management: HttpUrl | None = Field(default=None, repr=False)
    #: Folder of the embedded stack's files.
    home: Path = Field(default=Path("~/.local/state/colm"), validate_default=True)
    #: Folder of downloaded and converted models.
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
    #: Threads of each coordinator process.
    coordinator_threads: int = Field(default=4, ge=1, le=128)
    #: Whether Flower and logs show questions and prompts.
    show_texts: bool = False

    @field_validator("home", "cache")
    @classmethod
    def _absolute(cls, folder: Path, info: ValidationInfo) -> Path:
        try:
            return absolute(folder)
        except ValueError as error:
            variable = f"COLM_{str(info.field_name).upper()}"
            raise ValueError(f"{error}, or {variable} to a folder of this user's") from error

    @field_validator("database")
    @classmethod
    def _absolute_file(cls, url: str | None) -> str | None:
        return None if url is None else absolute_sqlite(validate_sqlite_url(url), current_folder())

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
        # The record identifies a participant by its name alone.
        if both := sorted(self.clients.keys() & self.servers.keys()):
            raise ValueError(f"{both[0]!r} is both a client and a server; rename one")
        if taken := sorted(RESERVED & (self.clients.keys() | self.servers.keys())):
            raise ValueError(
                f"{taken[0]!r} is a subcommand of 'colm client' and no name; rename it"
            )
        return self

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
        return redact(self.database_url)

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
    """The settings of this process, cached at the first call."""
    return load(os.environ, current_folder())


def override(*, broker: str | None, database: str | None) -> None:
    """Set options of the command line, before the settings are read."""
    if broker is not None:
        os.environ["COLM_BROKER"] = broker
    if database is not None:
        os.environ["COLM_DATABASE"] = database
    settings.cache_clear()


def load(environment: Mapping[str, str], folder: Path, *, running: bool = True) -> Settings:
    """Settings from `environment` and the file that it or `folder` names. Raises SettingsError.

    `running` fills in the broker and database of a running stack.
    """
    path = file_of(environment, folder)
    values = {} if path is None else read_file(path)
    # A variable changes one value of a default participant and keeps the others.
    defaults = {"clients": _default_clients, "servers": default_servers}
    overrides = from_environment(environment, _is_key)
    low: dict[str, Any] = dict(xdg_defaults(environment))
    for key in defaults.keys() & overrides.keys() - values.keys():
        low[key] = {n: table.model_dump(mode="json") for n, table in defaults[key]().items()}
    values = merge(merge(low, values), overrides)
    files = [] if path is None else [str(path)]
    site = _validate(values, source=" and ".join([*files, "COLM_* variables"]))
    return _with_running_stack(site) if running else site


def new_stack_settings() -> Settings:
    """The settings of a process that becomes the stack."""
    return load(os.environ, current_folder(), running=False)


def secret(name: str) -> str:
    """The value of the environment variable `name`. Raises SettingsError if it is not set."""
    value = os.environ.get(name)
    if not value:
        raise SettingsError(f"the environment variable {name} is not set; it holds an API key")
    return value


def environment_with(**values: str) -> dict[str, str]:
    """This process's environment with `values` set, for a child process."""
    return {**os.environ, **values}


def prepare_for_torch() -> None:
    """Set variables that torch and tokenizers read at their import.

    Passive waiting of OpenMP threads made a training step 7 times faster on two shared cores.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def remove_service_links(prefix: str) -> None:
    """Remove service links with this prefix from the environment."""
    for variable, value in list(os.environ.items()):
        if variable.startswith(prefix) and is_service_link(variable, value):
            del os.environ[variable]


def _validate(values: dict[str, Any], source: str) -> Settings:
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        # Not `from error`: pydantic's error shows the input, which may hold a password.
        raise SettingsError(f"{source}: {describe(Settings, error, 'COLM_')}") from None


def _is_key(path: Sequence[str]) -> bool:
    try:
        return path[-1] in keys_at(Settings, path[:-1])
    except KeyError:
        return False


def _with_running_stack(site: Settings) -> Settings:
    if site.broker is not None and site.database is not None:
        return site
    stack = running_stack(site.home)
    if stack is None:
        return site
    broker, database = stack
    return site.model_copy(
        update={"broker": site.broker or broker, "database": site.database or database}
    )
