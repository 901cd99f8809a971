"""The comparisons that a run can be made for: which entries it needs, and where each one stands.

Data and pure functions. An experiment turns what a site has (its clients and servers, and the model
of each) into entries of an evaluation run; the run is then made, graded and reported as any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from colm.models.errors import InvalidAsk
from colm.models.naming import join_names

#: The paper's ablation goes as far as this many clients.
MOST_CLIENTS = 8


@dataclass(frozen=True, kw_only=True)
class Site:
    """The participants of a site with the model of each, in the order of its settings."""

    clients: Mapping[str, str]
    servers: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an entry stands in the experiment's plot."""

    #: The line that it belongs to, and where on it; no x is as good at every one.
    series: str
    x: float | None
    #: What stands at x on an axis that is not of numbers.
    label: str = ""


@dataclass(frozen=True, kw_only=True)
class Point(Place):
    """One entry of the run, and its place."""

    #: The fields of an entry: name, strategy, clients, server, options.
    entry: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A question to a run: what it asks, what its horizontal axis is, and the entries it needs."""

    name: str
    asks: str
    #: What x counts; empty where the points have no order.
    axis: str
    #: The series that the others are compared with at each x; empty for none.
    against: str = ""
    plan: Callable[[Site], Sequence[Point]]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a run was made for: its experiment, and the place of each of its entries."""

    name: str
    asks: str
    axis: str
    against: str
    places: Mapping[str, Place]


def plan_of(name: str, site: Site) -> tuple[Point, ...]:
    """The points of the experiment called `name`. Raises InvalidAsk where the site cannot."""
    if name not in EXPERIMENTS:
        raise InvalidAsk(f"no experiment {name!r} (there are: {', '.join(sorted(EXPERIMENTS))})")
    return tuple(EXPERIMENTS[name].plan(site))


def _number_of_clients(site: Site) -> list[Point]:
    names = _clients(site, 1)[:MOST_CLIENTS]
    points = []
    for k in range(1, len(names) + 1):
        points.append(_point("colm", k, f"colm-{k}", clients=names[:k], rounds=1))
        # As often asked, without guidance: what a client mends by chance.
        control = _point("resample", k, f"resample-{k}", "resample", clients=names[:k], calls=2)
        points.append(control)
    return points


def _weak_server(site: Site) -> list[Point]:
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


def _same_or_different(site: Site) -> list[Point]:
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


def _ablations(site: Site) -> list[Point]:
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


def _selection(site: Site) -> list[Point]:
    _servers(site, 1)
    points = [_point("everyone", len(site.clients), "everyone", rounds=1)]
    for k in range(1, len(_clients(site, 2))):
        for by in ("server", "keywords"):
            points.append(_point(by, k, f"{by}-{k}", rounds=1, select=k, selector=by))
    return points


def _named(series: str, x: float, name: str, **options: Any) -> Point:
    """A point at its own name."""
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
) -> Point:
    # A participant's name can be as long as an entry's whole name.
    entry: dict[str, Any] = {
        "name": join_names([name], 40),
        "strategy": strategy,
        "options": options,
    }
    if clients is not None:
        entry["clients"] = list(clients)
    if server is not None:
        entry["server"] = server
    return Point(series=series, x=x, label=label, entry=entry)


def _with(point: Point, **options: Any) -> Point:
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
    one.name: one
    for one in (
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
