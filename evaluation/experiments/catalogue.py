"""Catalogue of experiments: the entries of each, and their positions in its plot. Pure.

An experiment turns a site's participants and their models into entries of an evaluation run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from colm.models.errors import InvalidAsk
from colm.models.naming import join_names

#: Clients of the paper's largest ablation.
MOST_CLIENTS = 8


@dataclass(frozen=True, kw_only=True)
class Site:
    """Participants of a site -> their models, in the order of its settings."""

    clients: Mapping[str, str]
    servers: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class PlotPosition:
    """Position of an entry in the plot."""

    #: Its line, and the position on it; None: a horizontal line.
    series: str
    x: float | None
    #: Tick label of a non-numeric axis.
    label: str = ""


@dataclass(frozen=True, kw_only=True)
class PlannedEntry(PlotPosition):
    """One entry of the run with its position."""

    #: The fields of an entry: name, strategy, clients, server, options.
    entry: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """An experiment: its question, horizontal axis and entries."""

    name: str
    asks: str
    #: Name of the x axis; empty for unordered points.
    axis: str
    #: The control series, compared at each x; empty: none.
    against: str = ""
    plan: Callable[[Site], Sequence[PlannedEntry]]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The experiment of a run, with the position of each entry."""

    name: str
    asks: str
    axis: str
    against: str
    places: Mapping[str, PlotPosition]


def plan_of(name: str, site: Site) -> tuple[PlannedEntry, ...]:
    """The entries of an experiment. Raises InvalidAsk if it or its participants are missing."""
    if name not in EXPERIMENTS:
        raise InvalidAsk(f"no experiment {name!r} (there are: {', '.join(sorted(EXPERIMENTS))})")
    return tuple(EXPERIMENTS[name].plan(site))


def _number_of_clients(site: Site) -> list[PlannedEntry]:
    names = _clients(site, 1)[:MOST_CLIENTS]
    points = []
    for k in range(1, len(names) + 1):
        points.append(_point("colm", k, f"colm-{k}", clients=names[:k], rounds=1))
        # Control: as many calls without guidance.
        control = _point("resample", k, f"resample-{k}", "resample", clients=names[:k], calls=2)
        points.append(control)
    return points


def _weak_server(site: Site) -> list[PlannedEntry]:
    _clients(site, 1)
    points = [
        _point(f"{name} alone", None, f"alone-{name}", "single", participant=name)
        for name in site.clients
    ]
    for x, server in enumerate(_servers(site, 2)):
        points.append(_point("colm", x, f"colm-{server}", label=server, server=server, rounds=1))
        alone = _point("server alone", x, f"alone-{server}", "single", label=server, server=server)
        points.append(_with(alone, participant=server))
    return points


def _same_or_different(site: Site) -> list[PlannedEntry]:
    alike: dict[str, list[str]] = {}
    for name in _clients(site, 2):
        alike.setdefault(site.clients[name], []).append(name)
    different = [names[0] for names in alike.values()]
    copies = [names for names in alike.values() if len(names) > 1]
    if len(different) < 2 or not copies:
        raise InvalidAsk(
            "this experiment needs clients of at least two models, and two clients of one of them"
        )
    size = min(len(different), max(map(len, copies)))
    points = [_named("different", 0, "different", clients=different[:size], rounds=1)]
    points += [
        _named("copies", x, f"copies-of-{names[0]}", clients=names[:size], rounds=1)
        for x, names in enumerate((names for names in copies if len(names) >= size), 1)
    ]
    return points


def _ablations(site: Site) -> list[PlannedEntry]:
    _clients(site, 2)
    _servers(site, 1)
    variants: list[tuple[str, dict[str, Any]]] = [
        ("whole", {"rounds": 2}),
        ("one-round", {"rounds": 1}),
        ("three-rounds", {"rounds": 3}),
        ("no-refinement", {"refine": False}),
        ("no-synthesis", {"rounds": 2, "synthesis": False}),
        ("drafts-only", {"refine": False, "synthesis": False}),
        ("own-draft-hidden", {"rounds": 2, "client_sees_own_draft": False}),
        ("question-hidden", {"rounds": 2, "server_sees_question": False}),
    ]
    return [_named("colm", x, name, **options) for x, (name, options) in enumerate(variants)]


def _selection(site: Site) -> list[PlannedEntry]:
    _servers(site, 1)
    points = [_point("everyone", len(site.clients), "everyone", rounds=1)]
    for k in range(1, len(_clients(site, 2))):
        for by in ("server", "keywords"):
            points.append(_point(by, k, f"{by}-{k}", rounds=1, select=k, selector=by))
    return points


def _named(series: str, x: float, name: str, **options: Any) -> PlannedEntry:
    return _point(series, x, name, label=name, **options)


def _point(
    series: str,
    x: float | None,
    name: str,
    strategy: str = "colm",
    *,
    label: str = "",
    clients: Sequence[str] | None = None,
    server: str | None = None,
    **options: Any,
) -> PlannedEntry:
    # A participant's name may fill an entry's whole name.
    entry: dict[str, Any] = {
        "name": join_names([name], 40),
        "strategy": strategy,
        "options": options,
    }
    if clients is not None:
        entry["clients"] = list(clients)
    if server is not None:
        entry["server"] = server
    return PlannedEntry(series=series, x=x, label=label, entry=entry)


def _with(point: PlannedEntry, **options: Any) -> PlannedEntry:
    entry = {**point.entry, "options": {**point.entry["options"], **options}}
    return replace(point, entry=entry)


def _clients(site: Site, least: int) -> list[str]:
    if len(site.clients) < least:
        raise InvalidAsk(f"this experiment needs {least} clients; {len(site.clients)} configured")
    return list(site.clients)


def _servers(site: Site, least: int) -> list[str]:
    if len(site.servers) < least:
        raise InvalidAsk(f"this experiment needs {least} servers; {len(site.servers)} configured")
    return list(site.servers)


EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        Experiment(
            name="number-of-clients",
            asks="What does each further client add, in accuracy and in time?",
            axis="clients",
            against="resample",
            plan=_number_of_clients,
        ),
        Experiment(
            name="weak-server",
            asks="Does guidance help that comes from a server weaker than its clients?",
            axis="server",
            against="server alone",
            plan=_weak_server,
        ),
        Experiment(
            name="same-or-different",
            asks="Are different clients worth more than copies of one?",
            axis="",
            plan=_same_or_different,
        ),
        Experiment(
            name="ablations", asks="Which part of CoLM does the work?", axis="", plan=_ablations
        ),
        Experiment(
            name="selection",
            asks="Does it pay to select who drafts, and need a server do it?",
            axis="clients that draft",
            against="server",
            plan=_selection,
        ),
    )
}
