"""Experiments on what surrounds the clients: a run for each condition, with clients of its own.

The clients' processes are started here, behind a slow link, and ended with the run. What was
measured of them lies in `conditions.json` of the experiment's folder: an experiment that was killed
goes on with the condition that it was at, when the same command is given again.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, quote, unquote, urlsplit

from rich.console import Console
from sqlalchemy import Engine

from colm.db.connection import connect
from colm.db.runs import store
from colm.evaluation.experiments.catalogue import Site
from colm.evaluation.experiments.conditions import (
    ENVIRONMENT_EXPERIMENTS,
    Condition,
    EnvironmentExperiment,
)
from colm.evaluation.experiments.report import merged, table_of
from colm.evaluation.stats.run_data import RunData
from colm.models.errors import CallerError, ClientsGone, ColmError, InvalidAsk
from colm.models.roster import nearest
from colm.tasks.broker.publish import topology
from colm.tasks.broker.queue_stats import queues_with_consumers
from colm.tasks.config.run_config import RunConfig, read_config
from colm.tasks.config.settings import settings
from colm.workers.evaluator.report import read_run
from colm.workers.evaluator.run_control import changed, follow_run, place_order
from colm.workers.experiments.client_processes import started
from colm.workers.experiments.network_proxy import Address, Profile, ThrottlingProxy, broker_address
from colm.workers.experiments.plan import Order, site_of, values_of
from colm.workers.experiments.report import tell
from colm.workers.local_stack.stack import by_engine

#: The one entry of each run.
ENTRY: Final = {"name": "colm", "strategy": "colm", "options": {"rounds": 1}}
#: Where it is written why a condition could not be run to its end.
TROUBLE: Final = "trouble"


def run_conditions(
    name: str, order: Order, base: str | None, only: Sequence[str] | None, *, as_json: bool
) -> int:
    """Make the experiment's runs, one after the other, and report them; the exit status."""
    one, base = narrowed(ENVIRONMENT_EXPERIMENTS[name], only), base or name
    site = site_of(settings())
    config, clients = config_of(one, site, order, Path.cwd())
    _alone(clients)
    folder = Path(f"experiment-{base}")
    folder.mkdir(exist_ok=True)
    console = Console(stderr=True)
    engine = connect(settings().database_url)
    measured = _read(folder)
    for condition in one.conditions:
        run = f"{base}-{condition.name}"
        known = measured.get(condition.name)
        if known is not None and (TROUBLE in known or _state(engine, run) == "done"):
            continue
        console.print(f"run {run}", highlight=False)
        found = _tried(condition, partial(_one, engine, run, config, condition, clients, folder))
        measured = {**measured, condition.name: found}
        (folder / "conditions.json").write_text(json.dumps(measured, indent=1) + "\n")
    data, numbers = _told(engine, base, one, measured)
    tell(data, table_of(data, one.layout, measured=numbers), folder, as_json=as_json)
    return 0


def _tried(condition: Condition, measure: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """What was measured; or why clients with so little memory could not go on."""
    try:
        return measure()
    except ClientsGone as gone:
        if condition.memory is None:
            raise
        return {TROUBLE: str(gone)}


def _told(
    engine: Engine, base: str, one: EnvironmentExperiment, measured: Mapping[str, Mapping[str, Any]]
) -> tuple[RunData, dict[str, dict[str, float | None]]]:
    """The conditions' runs as one, what could not be run among its notes; and the figures."""
    told = {c.name: measured[c.name] for c in one.conditions}
    notes = [f"{name}: {found[TROUBLE]}" for name, found in told.items() if TROUBLE in found]
    read = {
        name: read_run(engine, f"{base}-{name}")
        for name in told
        if _state(engine, f"{base}-{name}") is not None
    }
    done = {name: data for name, data in read.items() if data.units}
    if not done:
        raise ClientsGone("nothing was measured: " + "; ".join(notes))
    data = merged(done, base)
    numbers = {name: dict(found) for name, found in told.items() if TROUBLE not in found}
    return replace(data, notes=(*data.notes, *notes)), numbers


def narrowed(one: EnvironmentExperiment, only: Sequence[str] | None) -> EnvironmentExperiment:
    """The experiment under the conditions that `only` names. Raises InvalidAsk."""
    if not only:
        return one
    found = []
    for name in only:
        condition = one.condition(name)
        if condition is None:
            known = [condition.name for condition in one.conditions]
            hint = nearest(name, known) or f" (there are: {', '.join(known)})"
            raise InvalidAsk(f"{one.name} has no condition {name!r}{hint}")
        found.append(condition)
    return replace(one, conditions=tuple(found))


def config_of(
    one: EnvironmentExperiment, site: Site, order: Order, folder: Path
) -> tuple[RunConfig, Sequence[str]]:
    """The run of every condition, and the clients that it asks. One query at once by default."""
    values, chosen = values_of(site, order, folder)
    names = list(chosen.clients)
    told = {"concurrency": 1, **values, "name": one.name, "clients": names, "entries": [ENTRY]}
    return read_config(told), names


def _one(
    engine: Engine,
    run: str,
    config: RunConfig,
    condition: Condition,
    clients: Sequence[str],
    folder: Path,
) -> dict[str, float | None]:
    """Have a run worked on under a condition; what was measured beside it, for each query."""
    if _state(engine, run) in ("cancelled", "failed"):
        raise ColmError(f"run {run} is {_state(engine, run)}: give the experiment another --name")
    groups = by_engine({name: settings().clients[name] for name in clients})
    with _link(condition) as (link, url), started(groups, condition, url, folder) as running:
        before = 0
        if _state(engine, run) is None:
            place_order(config, run)
        else:
            before = len(read_run(engine, run).units)
        # Else its steps would be waited for until their deadline.
        with running.watched(lambda: changed(engine, run, "cancelled")):
            ended = follow_run(engine, store.find(engine, run))
        if ended.state != "done":
            raise ColmError(f"run {run} is {ended.state}: {ended.note}")
        memory = running.peak()
    asked = (ended.units or 0) - before
    return {
        "KiB to broker": link.sent / 1024 / asked if asked else None,
        "KiB from broker": link.received / 1024 / asked if asked else None,
        "clients' peak MiB": memory,
    }


def _state(engine: Engine, run: str) -> str | None:
    known = {found.run: found.state for found in store.list_runs(engine)}
    return known.get(run)


def _alone(clients: Sequence[str]) -> None:
    """Raises CallerError where a client runs already: its answers would come by another way."""
    queues = {topology().overnight(name).name: name for name in clients}
    if running := sorted(queues[name] for name in queues_with_consumers(queues)):
        raise CallerError(
            f"{', '.join(running)}: these clients run already, and this experiment starts its "
            "own; stop them, or name others with --clients"
        )


@contextlib.contextmanager
def _link(condition: Condition) -> Iterator[tuple[ThrottlingProxy, str]]:
    """A link to the site's broker, and the broker's URL through it."""
    url = settings().broker_url
    profile = Profile(
        name=condition.name,
        delay=condition.delay,
        bandwidth=condition.bandwidth,
        loss=condition.loss,
    )
    # The path of a Unix socket must be short.
    with tempfile.TemporaryDirectory(prefix="colm-") as short:
        target, listen = addresses(url, Path(short) / "link.sock")
        with ThrottlingProxy(listen=listen, target=target, profile=profile) as link:
            yield link, through(url, link.listen)


def addresses(url: str, beside: Path) -> tuple[Address, Address]:
    """Where the broker is, and where a link to it may listen. Raises CallerError over TLS."""
    parts = urlsplit(url)
    if parts.scheme == "redis+socket":
        return unquote(parts.netloc + parts.path), str(beside)
    return broker_address(parts.hostname, parts.port, parts.scheme), ("127.0.0.1", 0)


def through(url: str, link: Address) -> str:
    """The URL with the link's address in place of the broker's."""
    parts = urlsplit(url)
    if isinstance(link, str):
        host = parse_qs(parts.query).get("virtual_host", ["0"])[0]
        return f"redis+socket://{quote(link)}?virtual_host={host}"
    login, at, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{login}{at}{link[0]}:{link[1]}").geturl()


def _read(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / "conditions.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ColmError(f"{folder}/conditions.json cannot be read: {error}") from error
