"""`colm experiment ...`: a plan made for this site becomes an ordinary run.

Where each entry stands is written into the run's configuration: the report needs no settings, and
is the same wherever the run is read.
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
    """What the command line says of an experiment; None leaves it to the evaluation's file."""

    #: A data set, or an evaluation's TOML file, of which all but the entries is used.
    data: str
    clients: Sequence[str] | None = None
    servers: Sequence[str] | None = None
    limit: int | None = None
    seeds: Sequence[int] | None = None
    concurrency: int | None = None
    share: bool | None = None


def site_of(found: Settings) -> Site:
    """The participants of the settings that models answer for, and each one's model."""
    clients, servers = (
        {name: model_of(one.engine) for name, one in kind.items() if one.engine.kind != "sandbox"}
        for kind in (found.clients, found.servers)
    )
    return Site(clients=clients, servers=servers)


def model_of(engine: EngineSettings) -> str:
    """What two participants have in common if they are copies of one."""
    if engine.kind == "scripted":
        return f"scripted {engine.reply}"
    return " ".join(filter(None, (engine.model, engine.base_url)))


def config_of(name: str, site: Site, order: Order, folder: Path) -> RunConfig:
    """The run of the experiment `name` on this site; paths are relative to `folder`.

    Raises InvalidAsk where the site cannot, or the order is wrong.
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
    """What every run of the order says, and who of the site is asked. Raises InvalidAsk."""
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
        if (said := getattr(order, key)) is not None:
            values[key] = said
    if order.limit is not None:
        values["data"] = {**values["data"], "limit": order.limit}
    return values, chosen


def layout_of(run: str, config: Mapping[str, Any]) -> Layout:
    """What the run was made for. Raises CallerError where it was made for no experiment."""
    found = RunConfig.model_validate(config).experiment
    if found is None:
        raise CallerError(f"run {run} was made for no experiment: colm report {run}")
    return _layout(found)


def told_experiments(site: Site) -> list[dict[str, Any]]:
    """Each experiment with the number of entries it has on this site, or why it cannot be made."""
    told = []
    for name, one in EXPERIMENTS.items():
        try:
            entries, problem = len(plan_of(name, site)), ""
        except InvalidAsk as error:
            entries, problem = 0, str(error)
        told.append({"name": name, "asks": one.asks, "entries": entries, "problem": problem})
    for name, other in ENVIRONMENT_EXPERIMENTS.items():
        entries, problem = len(other.conditions), ""
        told.append({"name": name, "asks": other.asks, "entries": entries, "problem": problem})
    return told


def _values(order: Order, folder: Path) -> dict[str, Any]:
    """What the order's file says of the run, or a run of the data set alone."""
    if not order.data.endswith(".toml"):
        return {"data": {"source": absolute(order.data, folder)}}
    values = read_values(folder / Path(order.data).expanduser())
    if not isinstance(values.get("data"), dict):
        raise InvalidAsk(f"{order.data} has no [data] table: it says no data set to ask")
    return {key: said for key, said in values.items() if key not in ("entries", "baselines")}


def _chosen(known: Mapping[str, str], names: Sequence[str] | None, what: str) -> Mapping[str, str]:
    """Those of `known` that `names` lists, in its order; all where it lists none."""
    if not names:
        return known
    for name in names:
        if name not in known:
            raise InvalidAsk(f"no {what} is called {name!r}{nearest(name, list(known))}")
    return {name: known[name] for name in names}


def _settings(name: str, points: Sequence[PlannedEntry]) -> dict[str, Any]:
    one = EXPERIMENTS[name]
    places = [
        {"entry": point.entry["name"], "series": point.series, "x": point.x, "label": point.label}
        for point in points
    ]
    told = {field: getattr(one, field) for field in ("name", "asks", "axis", "against")}
    return {**told, "places": places}


def _layout(found: ExperimentSettings) -> Layout:
    return Layout(
        name=found.name,
        asks=found.asks,
        axis=found.axis,
        against=found.against,
        places={
            one.entry: PlotPosition(series=one.series, x=one.x, label=one.label)
            for one in found.places
        },
    )
