"""Configuration of an evaluation: strategies, data and options, from a TOML file or a dict.

An unknown key is an error that names the nearest. Only an evaluator reads the data.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from colm.models.errors import InvalidAsk
from colm.models.messages import MAX_CLIENTS, Message, Name, RunId
from colm.models.roster import check_options, nearest
from colm.tasks.config.time_windows import parse_window
from colm.tasks.config.validation import describe


class DataSettings(Message):
    """The `[data]` table: the source and the selection of examples."""

    #: A file (.jsonl, .json, .csv), `hub:NAME` for a data set of the Hugging Face hub, or
    #: `gym:NAME` for a generator of reasoning-gym.
    source: str = Field(min_length=1, max_length=4_000)
    #: Format of the rows; auto infers it from their fields.
    format: str = Field(default="auto", max_length=40)
    #: Fields of the question and the answer; none follows the format.
    question: str | None = Field(default=None, max_length=200)
    answer: str | None = Field(default=None, max_length=200)
    #: The field with all choices, or the fields with one each; "" is none; none infers them.
    choices: str | tuple[str, ...] | None = Field(default=None, max_length=200)
    #: Number of the first choice, for answers that are numbers of choices; none is 0.
    first: Literal[0, 1] | None = None
    #: The folder that `images` of a row are relative to; none is the folder of the source.
    images: str | None = Field(default=None, max_length=4_000)
    #: hub: configuration and split of the data set.
    subset: str | None = Field(default=None, max_length=200)
    split: str | None = Field(default=None, max_length=200)
    #: Most examples, sampled by `seed`; none takes all, in order.
    limit: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**63)
    #: tuning: the share of examples for tuning. test: the rest.
    part: Literal["all", "tuning", "test"] = "all"
    tuning_share: float = Field(default=0.3, gt=0, lt=1)


class GraderSettings(Message):
    """The `[grader]` table: the comparison of an answer with the reference."""

    #: auto is the example's own kind. judge: a server compares with the reference.
    kind: Literal["auto", "exact", "numeric", "choice", "math", "text", "code", "vqa", "judge"] = (
        "auto"
    )
    #: judge: the server; none is the site's first.
    judge: Name | None = None
    #: code: limits of one program (seconds, MiB).
    seconds: float = Field(default=10.0, gt=0, le=600)
    memory: int = Field(default=512, ge=64, le=65_536)


class Price(Message):
    """Price of a participant's tokens (dollars per million)."""

    input: float = Field(default=0.0, ge=0)
    output: float = Field(default=0.0, ge=0)


class Entry(Message):
    """One strategy with its options: a row of the report. Unset fields default to the run's."""

    name: Name
    strategy: Name = "colm"
    clients: tuple[Name, ...] | None = Field(default=None, min_length=1, max_length=MAX_CLIENTS)
    server: Name | None = None
    max_new_tokens: int | None = Field(default=None, ge=1, le=32_768)
    temperature: float | None = Field(default=None, ge=0.0, le=5.0)
    #: single: no generation; the answer is the likeliest of the example's letters or choices.
    by_likelihood: Literal["letters", "words"] | None = None
    options: dict[str, Any] = Field(default_factory=dict)

    @property
    def wants_visible_tests(self) -> bool:
        """Whether confidence by tests uses each example's own visible tests."""
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
    """Place of an entry in the table and the plot of an experiment."""

    entry: Name
    series: str = Field(max_length=200)
    #: None is a horizontal line.
    x: float | None = None
    label: str = Field(default="", max_length=200)


class ExperimentSettings(Message):
    """The `experiment` table, written by `colm experiment run`."""

    name: Name
    asks: str = Field(default="", max_length=400)
    #: Label of x; empty for unordered points.
    axis: str = Field(default="", max_length=200)
    #: The series that is the baseline at each x.
    against: str = Field(default="", max_length=200)
    places: tuple[PlaceSettings, ...] = Field(min_length=1, max_length=200)


class RunConfig(Message):
    """An evaluation: every example is asked once for every entry and seed."""

    #: The run's id begins with it.
    name: RunId = "run"
    data: DataSettings
    entries: tuple[Entry, ...] = Field(min_length=1, max_length=200)
    #: Entries that all others are compared with; none is the first.
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
    #: Whether equal steps of entries are generated once.
    share: bool = True
    #: Time window, as in "weekdays 22:00-06:00 Europe/Berlin"; none is always.
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


def read_config(source: RunConfig | Mapping[str, Any] | str | Path) -> RunConfig:
    """The configuration in a dict or a TOML file, whose paths are relative to it.

    Raises InvalidAsk.
    """
    if isinstance(source, RunConfig):
        return source
    if isinstance(source, Mapping):
        return _validated(source, "the evaluation")
    path = Path(source)
    return _validated(read_values(path), str(path))


def read_values(path: Path) -> dict[str, Any]:
    """The unvalidated values of a TOML file, with absolute paths and a name.

    Raises InvalidAsk if it cannot be read.
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
    """The data set `source` with an absolute path; a hub or gym name is unchanged."""
    if not source or source.startswith(("hub:", "gym:")):
        return source
    return str((folder / Path(source).expanduser()).resolve())


def _validated(values: Mapping[str, Any], what: str) -> RunConfig:
    try:
        return RunConfig.model_validate(dict(values))
    except ValidationError as error:
        raise InvalidAsk(f"{what} cannot be used: {describe(RunConfig, error)}") from error
