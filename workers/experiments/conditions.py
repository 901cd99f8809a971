"""Experiments on the clients' environment: one run for each condition, with its own clients.

The client processes start here, behind an emulated network, and end with the run. Measurements are
in `conditions.json` of the experiment's folder: the same command continues a killed experiment at
its condition.
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
from colm.workers.experiments.network_proxy import Address, NetworkProxy, Profile, broker_address
from colm.workers.experiments.plan import Order, site_of, values_of
from colm.workers.experiments.report import tell
from colm.workers.local_stack.stack import by_engine

#: The entry of every run.
ENTRY: Final = {"name": "colm", "strategy": "colm", "options": {"rounds": 1}}
#: Key of the reason why a condition did not run to its end.
TROUBLE: Final = "trouble"


def run_conditions(
    name: str, order: Order, base: str | None, only: Sequence[str] | None, *, as_json: bool
) -> int:
    """Runs the conditions one after another and reports them; the exit status."""
    experiment, base = narrowed(ENVIRONMENT_EXPERIMENTS[name], only), base or name
    site = site_of(settings())
    config, clients = config_of(experiment, site, order, Path.cwd())
    _alone(clients)
    folder = Path(f"experiment-{base}")
    folder.mkdir(exist_ok=True)
    console = Console(stderr=True)
    engine = connect(settings().database_url)
    measured = _read(folder)
    for condition in experiment.conditions:
        run = f"{base}-{condition.name}"
        previous = measured.get(condition.name)
        if previous is not None and (TROUBLE in previous or _state(engine, run) == "done"):
            continue
        console.print(f"run {run}", highlight=False)
        result = _tried(
            condition, partial(_run_condition, engine, run, config, condition, clients, folder)
        )
        measured = {**measured, condition.name: result}
        (folder / "conditions.json").write_text(json.dumps(measured, indent=1) + "\n")
    data, numbers = _merged_runs(engine, base, experiment, measured)
    tell(data, table_of(data, experiment.layout, measured=numbers), folder, as_json=as_json)
    return 0


def _tried(condition: Condition, measure: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """The measurements, or the error of clients with too little memory."""
    try:
        return measure()
    except ClientsGone as gone:
        if condition.memory is None:
            raise
        return {TROUBLE: str(gone)}


def _merged_runs(
    engine: Engine,
    base: str,
    experiment: EnvironmentExperiment,
    measured: Mapping[str, Mapping[str, Any]],
) -> tuple[RunData, dict[str, dict[str, float | None]]]:
    """The conditions' runs as one, with failed conditions as notes; and the figures."""
    results = {c.name: measured[c.name] for c in experiment.conditions}
    notes = [f"{name}: {result[TROUBLE]}" for name, result in results.items() if TROUBLE in result]
    read = {
        name: read_run(engine, f"{base}-{name}")
        for name in results
        if _state(engine, f"{base}-{name}") is not None
    }
    done = {name: data for name, data in read.items() if data.units}
    if not done:
        raise ClientsGone("no condition was measured: " + "; ".join(notes))
    data = merged(done, base)
    numbers = {name: dict(result) for name, result in results.items() if TROUBLE not in result}
    return replace(data, notes=(*data.notes, *notes)), numbers


def narrowed(
    experiment: EnvironmentExperiment, only: Sequence[str] | None
) -> EnvironmentExperiment:
    """The experiment under the conditions of `only`. Raises InvalidAsk."""
    if not only:
        return experiment
    conditions = []
    for name in only:
        condition = experiment.condition(name)
        if condition is None:
            names = [condition.name for condition in experiment.conditions]
            hint = nearest(name, names) or f" (there are: {', '.join(names)})"
            raise InvalidAsk(f"{experiment.name} has no condition {name!r}{hint}")
        conditions.append(condition)
    return replace(experiment, conditions=tuple(conditions))


def config_of(
    experiment: EnvironmentExperiment, site: Site, order: Order, folder: Path
) -> tuple[RunConfig, Sequence[str]]:
    """The run's configuration and the clients that it asks. One query at once by default."""
    values, chosen = values_of(site, order, folder)
    names = list(chosen.clients)
    values_of_run = {
        "concurrency": 1,
        **values,
        "name": experiment.name,
        "clients": names,
        "entries": [ENTRY],
    }
    return read_config(values_of_run), names


def _run_condition(
    engine: Engine,
    run: str,
    config: RunConfig,
    condition: Condition,
    clients: Sequence[str],
    folder: Path,
) -> dict[str, float | None]:
    """Evaluates one run under a condition; the measurements for each query."""
    if _state(engine, run) in ("cancelled", "failed"):
        raise ColmError(f"run {run} is {_state(engine, run)}: give the experiment another --name")
    groups = by_engine({name: settings().clients[name] for name in clients})
    with _link(condition) as (link, url), started(groups, condition, url, folder) as running:
        before = 0
        if _state(engine, run) is None:
            place_order(config, run)
        else:
            before = len(read_run(engine, run).units)
        # Steps of dead clients would otherwise wait for their deadline.
        with running.watched(lambda: changed(engine, run, "cancelled")):
            ended = follow_run(engine, store.find(engine, run))
        if ended.state != "done":
            raise ColmError(f"run {run} is {ended.state}: {ended.note}")
        memory = running.peak()
    queries = (ended.units or 0) - before
    return {
        "KiB to broker": link.sent / 1024 / queries if queries else None,
        "KiB from broker": link.received / 1024 / queries if queries else None,
        "clients' peak MiB": memory,
    }


def _state(engine: Engine, run: str) -> str | None:
    states = {run_row.run: run_row.state for run_row in store.list_runs(engine)}
    return states.get(run)


def _alone(clients: Sequence[str]) -> None:
    """Raises CallerError for a client that already runs: it would answer outside the condition."""
    queues = {topology().overnight(name).name: name for name in clients}
    if running := sorted(queues[name] for name in queues_with_consumers(queues)):
        raise CallerError(
            f"{', '.join(running)}: these clients already run; this experiment starts its own: "
            "stop them, or give others with --clients"
        )


@contextlib.contextmanager
def _link(condition: Condition) -> Iterator[tuple[NetworkProxy, str]]:
    """A proxy to the site's broker, and the broker's URL through it."""
    url = settings().broker_url
    profile = Profile(
        name=condition.name,
        delay=condition.delay,
        bandwidth=condition.bandwidth,
        loss=condition.loss,
    )
    # Unix socket paths must be short.
    with tempfile.TemporaryDirectory(prefix="colm-") as short:
        target, listen = addresses(url, Path(short) / "link.sock")
        with NetworkProxy(listen=listen, target=target, profile=profile) as link:
            yield link, through(url, link.listen)


def addresses(url: str, beside: Path) -> tuple[Address, Address]:
    """The broker's address, and one for the proxy to listen on. Raises CallerError for TLS."""
    parts = urlsplit(url)
    if parts.scheme == "redis+socket":
        return unquote(parts.netloc + parts.path), str(beside)
    return broker_address(parts.hostname, parts.port, parts.scheme), ("127.0.0.1", 0)


def through(url: str, link: Address) -> str:
    """The URL with the proxy's address in place of the broker's."""
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
