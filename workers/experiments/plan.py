"""An experiment as an ordinary run, planned for this site.

The run's configuration contains each entry's place in the table: a report needs no settings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from colm.evaluation.experiments.catalogue import (
    EXPERIMENTS,
    Layout,
    PlannedEntry,
    PlotPosition,
    Site,
    plan_of,
)
from colm.evaluation.experiments.conditions import ENVIRONMENT_EXPERIMENTS
from colm.models.engine_settings import EngineSettings
from colm.models.errors import CallerError, InvalidAsk
from colm.models.roster import nearest
from colm.tasks.config.run_config import (
    ExperimentSettings,
    RunConfig,
    absolute,
    read_config,
    read_values,
)
from colm.tasks.config.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Order:
    """The command line of an experiment; None leaves a value to the evaluation's file."""

    #: A data set, or an evaluation's TOML file, whose entries are ignored.
    data: str
    clients: Sequence[str] | None = None
    servers: Sequence[str] | None = None
    limit: int | None = None
    seeds: Sequence[int] | None = None
    concurrency: int | None = None
    share: bool | None = None


def site_of(config: Settings) -> Site:
    """The participants with a model, and the model of each."""
    clients, servers = (
        {
            name: model_of(participant.engine)
            for name, participant in kind.items()
            if participant.engine.kind != "sandbox"
        }
        for kind in (config.clients, config.servers)
    )
    return Site(clients=clients, servers=servers)


def model_of(engine: EngineSettings) -> str:
    """A text that is equal for participants with the same model."""
    if engine.kind == "scripted":
        return f"scripted {engine.reply}"
    return " ".join(filter(None, (engine.model, engine.adapter, engine.base_url)))


def config_of(name: str, site: Site, order: Order, folder: Path) -> RunConfig:
    """The run of the experiment `name` on this site; paths are relative to `folder`.

    Raises InvalidAsk for a site that lacks participants, or for a wrong order.
    """
    if name not in EXPERIMENTS:
        names = [*EXPERIMENTS, *ENVIRONMENT_EXPERIMENTS]
        hint = nearest(name, names) or f" (there are: {', '.join(names)})"
        raise InvalidAsk(f"no experiment {name!r}{hint}")
    values, chosen = values_of(site, order, folder)
    points = plan_of(name, chosen)
    entries = [dict(point.entry) for point in points]
    return read_config(
        {**values, "name": name, "entries": entries, "experiment": _settings(name, points)}
    )


def values_of(site: Site, order: Order, folder: Path) -> tuple[dict[str, Any], Site]:
    """The configuration that all runs share, and its participants. Raises InvalidAsk."""
    values = _values(order, folder)
    clients = order.clients or values.get("clients")
    chosen = Site(
        clients=_chosen(site.clients, clients, "client"),
        servers=_chosen(site.servers, order.servers, "server"),
    )
    if clients or order.servers:
        values["clients"] = list(chosen.clients)
    if order.servers:
        values["server"] = order.servers[0]
    for key in ("seeds", "concurrency", "share"):
        if (value := getattr(order, key)) is not None:
            values[key] = value
    if order.limit is not None:
        values["data"] = {**values["data"], "limit": order.limit}
    return values, chosen


def layout_of(run: str, config: Mapping[str, Any]) -> Layout:
    """The layout of the run's table. Raises CallerError for a run without an experiment."""
    experiment = RunConfig.model_validate(config).experiment
    if experiment is None:
        raise CallerError(f"run {run} belongs to no experiment: use colm report {run}")
    return _layout(experiment)


def describe_experiments(site: Site) -> list[dict[str, Any]]:
    """Each experiment with its number of entries on this site, or why it cannot be run."""
    documents = []
    for name, experiment in EXPERIMENTS.items():
        try:
            entries, problem = len(plan_of(name, site)), ""
        except InvalidAsk as error:
            entries, problem = 0, str(error)
        documents.append(
            {"name": name, "asks": experiment.asks, "entries": entries, "problem": problem}
        )
    for name, other in ENVIRONMENT_EXPERIMENTS.items():
        entries, problem = len(other.conditions), ""
        documents.append({"name": name, "asks": other.asks, "entries": entries, "problem": problem})
    return documents


def _values(order: Order, folder: Path) -> dict[str, Any]:
    """The configuration in the order's file, or one of the data set alone."""
    if not order.data.endswith(".toml"):
        return {"data": {"source": absolute(order.data, folder)}}
    values = read_values(folder / Path(order.data).expanduser())
    if not isinstance(values.get("data"), dict):
        raise InvalidAsk(f"{order.data} has no [data] table")
    return {key: value for key, value in values.items() if key not in ("entries", "baselines")}


def _chosen(
    available: Mapping[str, str], names: Sequence[str] | None, what: str
) -> Mapping[str, str]:
    """The entries of `available` listed in `names`, in their order; all without `names`."""
    if not names:
        return available
    for name in names:
        if name not in available:
            raise InvalidAsk(f"no {what} {name!r}{nearest(name, list(available))}")
    return {name: available[name] for name in names}


def _settings(name: str, points: Sequence[PlannedEntry]) -> dict[str, Any]:
    experiment = EXPERIMENTS[name]
    places = [
        {"entry": point.entry["name"], "series": point.series, "x": point.x, "label": point.label}
        for point in points
    ]
    fields = {field: getattr(experiment, field) for field in ("name", "asks", "axis", "against")}
    return {**fields, "places": places}


def _layout(experiment: ExperimentSettings) -> Layout:
    return Layout(
        name=experiment.name,
        asks=experiment.asks,
        axis=experiment.axis,
        against=experiment.against,
        places={
            place.entry: PlotPosition(series=place.series, x=place.x, label=place.label)
            for place in experiment.places
        },
    )
