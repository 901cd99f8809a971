"""What can be ordered of an evaluation: which strategies on which data, and how.

One TOML file, or the same as a dict. Unknown keys are errors that name the nearest. Nothing here
looks at the data: an evaluator does, where it lies.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeGuard, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from colm.models.errors import InvalidAsk
from colm.models.messages import MAX_CLIENTS, Message, Name, RunId
from colm.models.roster import check_options, nearest
from colm.tasks.config.time_windows import parse_window


class DataSettings(Message):
    """The `[data]` table: where the examples are, and which of them are asked."""

    #: A file (.jsonl, .json, .csv), `hub:NAME` for a data set of the Hugging Face hub, or
    #: `gym:NAME` for a generator of reasoning-gym.
    source: str = Field(min_length=1, max_length=4_000)
    #: How the rows are read; auto looks at their fields.
    format: str = Field(default="auto", max_length=40)
    #: The fields that hold the question and the answer, where no format says it.
    question: str | None = Field(default=None, max_length=200)
    answer: str | None = Field(default=None, max_length=200)
    #: The field with all options, or the fields with one each; "" is none; none looks for them.
    choices: str | tuple[str, ...] | None = Field(default=None, max_length=200)
    #: The number of the first option, where answers are numbers of options; none is 0.
    first: Literal[0, 1] | None = None
    #: The folder that `images` of a row are relative to; none is where the source lies.
    images: str | None = Field(default=None, max_length=4_000)
    #: hub: which configuration and which split of the data set.
    subset: str | None = Field(default=None, max_length=200)
    split: str | None = Field(default=None, max_length=200)
    #: At most so many examples, drawn by `seed`; none takes all, in their order.
    limit: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**63)
    #: tuning: the share of the examples that settings may be tried on. test: the rest.
    part: Literal["all", "tuning", "test"] = "all"
    tuning_share: float = Field(default=0.3, gt=0, lt=1)


class GraderSettings(Message):
    """The `[grader]` table: how an answer is compared with what was expected."""

    #: auto is each example's own kind. judge asks a server to compare with the reference.
    kind: Literal["auto", "exact", "numeric", "choice", "math", "text", "code", "vqa", "judge"] = (
        "auto"
    )
    #: judge: the server that compares; none is the site's first.
    judge: Name | None = None
    #: code: seconds and MiB that one program may take.
    seconds: float = Field(default=10.0, gt=0, le=600)
    memory: int = Field(default=512, ge=64, le=65_536)


class Price(Message):
    """What a participant's tokens cost (dollars for a million tokens)."""

    input: float = Field(default=0.0, ge=0)
    output: float = Field(default=0.0, ge=0)


class Entry(Message):
    """One strategy with its options: a row of the report. What it leaves out the run says."""

    name: Name
    strategy: Name = "colm"
    clients: tuple[Name, ...] | None = Field(default=None, min_length=1, max_length=MAX_CLIENTS)
    server: Name | None = None
    max_new_tokens: int | None = Field(default=None, ge=1, le=32_768)
    temperature: float | None = Field(default=None, ge=0.0, le=5.0)
    #: single: nothing is written; the answer is the likeliest of the example's letters, or options.
    by_likelihood: Literal["letters", "words"] | None = None
    options: dict[str, Any] = Field(default_factory=dict)

    @property
    def wants_visible_tests(self) -> bool:
        """Whether each example's visible tests are its own: by tests, of which it names none."""
        return self.options.get("confidence") == "tests" and self.options.get("tests") is None

    @model_validator(mode="after")
    def _known(self) -> Self:
        try:
            check_options(self.strategy, self.options)
        except InvalidAsk as error:
            raise ValueError(str(error)) from error
        if self.by_likelihood and (self.strategy != "single" or "choices" in self.options):
            raise ValueError("by_likelihood is for the strategy 'single', without choices")
        return self


class PlaceSettings(Message):
    """Where an entry stands in the table and the plot of an experiment."""

    entry: Name
    series: str = Field(max_length=200)
    #: None is a level: the same at every x.
    x: float | None = None
    label: str = Field(default="", max_length=200)


class ExperimentSettings(Message):
    """The `experiment` table: what a run was made for, as `colm experiment run` writes it."""

    name: Name
    asks: str = Field(default="", max_length=400)
    #: What x counts; empty where the points have no order.
    axis: str = Field(default="", max_length=200)
    #: The series that the others are compared with at each x.
    against: str = Field(default="", max_length=200)
    places: tuple[PlaceSettings, ...] = Field(min_length=1, max_length=200)


class RunConfig(Message):
    """A whole evaluation. Every example is asked once for every entry and seed."""

    #: The run's id begins with it.
    name: RunId = "run"
    data: DataSettings
    entries: tuple[Entry, ...] = Field(min_length=1, max_length=200)
    #: Entries that every other is compared with; none is the first.
    baselines: tuple[Name, ...] = ()
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...] = Field(
        default=(0,), min_length=1, max_length=1_000
    )
    clients: tuple[Name, ...] | None = Field(default=None, min_length=1, max_length=MAX_CLIENTS)
    server: Name | None = None
    max_new_tokens: int | None = Field(default=None, ge=1, le=32_768)
    temperature: float | None = Field(default=None, ge=0.0, le=5.0)
    #: Seconds for one query; none is the site's.
    deadline: float | None = Field(default=None, gt=0, le=604_800)
    grader: GraderSettings = GraderSettings()
    #: Queries in flight at once.
    concurrency: int = Field(default=8, ge=1, le=1_000)
    #: Whether equal steps of the entries are generated once. Without it each entry draws its own.
    share: bool = True
    #: When it may ask, as in "weekdays 22:00-06:00 Europe/Berlin"; none is always.
    window: str | None = None
    prices: dict[Name, Price] = Field(default_factory=dict)
    experiment: ExperimentSettings | None = None

    @field_validator("window")
    @classmethod
    def _readable(cls, window: str | None) -> str | None:
        if window is not None:
            try:
                parse_window(window)
            except InvalidAsk as error:
                raise ValueError(str(error)) from error
        return window

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        names = [entry.name for entry in self.entries]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two entries are called {twice[0]!r}")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds names the same seed twice")
        for baseline in self.baselines:
            if baseline not in names:
                raise ValueError(f"no entry is called {baseline!r}{nearest(baseline, names)}")
        for place in self.experiment.places if self.experiment else ():
            if place.entry not in names:
                raise ValueError(f"experiment: no entry is called {place.entry!r}")
        return self


def read_config(given: RunConfig | Mapping[str, Any] | str | Path) -> RunConfig:
    """The evaluation that a dict or a TOML file describes.

    A file's own relative paths are relative to it. Raises InvalidAsk that names what is wrong.
    """
    if isinstance(given, RunConfig):
        return given
    if isinstance(given, Mapping):
        return _validated(given, "the evaluation")
    path = Path(given)
    return _validated(read_values(path), str(path))


def read_values(path: Path) -> dict[str, Any]:
    """What an evaluation's TOML file says, with its name and paths, not yet checked.

    Raises InvalidAsk where it cannot be read.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidAsk(f"{path} cannot be read: {error}") from error
    data = values.get("data")
    for key in ("source", "images"):
        if isinstance(data, dict) and isinstance(data.get(key), str):
            data[key] = absolute(data[key], path.absolute().parent)
    return {"name": path.stem, **values}


def absolute(source: str, folder: Path) -> str:
    """The data set `source` as an evaluator elsewhere on this machine finds it."""
    if not source or source.startswith(("hub:", "gym:")):
        return source
    return str((folder / Path(source).expanduser()).resolve())


def _validated(values: Mapping[str, Any], what: str) -> RunConfig:
    try:
        return RunConfig.model_validate(dict(values))
    except ValidationError as error:
        faults = [
            _fault([str(part) for part in e["loc"]], e["type"], e["msg"])
            for e in error.errors(include_url=False, include_input=False)
        ]
        raise InvalidAsk(f"{what} cannot be used: " + "; ".join(faults)) from error


def _fault(loc: list[str], kind: str, message: str) -> str:
    where = ".".join(loc)
    if kind == "extra_forbidden":
        return f"unknown key {where!r}{nearest(loc[-1], _keys_at(loc[:-1]))}"
    said = message.removeprefix("Value error, ")
    return f"{where}: {said}" if where else said


def _keys_at(path: list[str]) -> list[str]:
    """The valid keys of the table at `path`; a number is a place in a list."""
    kind: Any = RunConfig
    for key in path:
        if _is_table(kind):
            kind = kind.model_fields[key].annotation
        elif get_origin(kind) is dict:
            kind = get_args(kind)[1]
        elif get_origin(kind) is tuple:
            kind = get_args(kind)[0]
    return list(kind.model_fields) if _is_table(kind) else []


def _is_table(kind: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
