"""Experiments on the clients' environment: network, threads, memory. Pure.

Each condition is a run of its own, with client processes started under it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from colm.evaluation.experiments.catalogue import Layout, PlotPosition


@dataclass(frozen=True, kw_only=True)
class Condition:
    """Environment of the clients during one run."""

    name: str
    #: Network to the broker, each way: seconds, bytes a second (None: unlimited), loss share.
    delay: float = 0.0
    bandwidth: float | None = None
    loss: float = 0.0
    #: CPU threads of the engine; None: as in the settings.
    threads: int | None = None
    #: MiB of private memory for each client process; None: unlimited.
    memory: int | None = None


@dataclass(frozen=True, kw_only=True)
class EnvironmentExperiment:
    """An experiment on conditions; the first is the baseline."""

    name: str
    asks: str
    axis: str
    conditions: Sequence[Condition]
    #: Also accepts conditions named after this limit and a number, such as `threads-3`.
    limits: Literal["threads", "memory"] | None = None

    def condition(self, name: str) -> Condition | None:
        """The condition of that name, or None."""
        for condition in self.conditions:
            if condition.name == name:
                return condition
        match = re.fullmatch(rf"{self.limits}-([1-9]\d{{0,6}})", name)
        if match is None:
            return None
        limit = int(match[1])
        if self.limits == "threads":
            return Condition(name=name, threads=limit)
        return Condition(name=name, memory=limit)

    @property
    def layout(self) -> Layout:
        return Layout(
            name=self.name,
            asks=self.asks,
            axis=self.axis,
            against="",
            places={
                condition.name: PlotPosition(series="colm", x=x, label=condition.name)
                for x, condition in enumerate(self.conditions)
            },
        )


ENVIRONMENT_EXPERIMENTS: dict[str, EnvironmentExperiment] = {
    experiment.name: experiment
    for experiment in (
        EnvironmentExperiment(
            name="network",
            asks="What does a slow network between clients and broker cost?",
            axis="network",
            conditions=(
                Condition(name="direct"),
                Condition(name="office", delay=0.001, bandwidth=12.5e6),
                Condition(name="home", delay=0.015, bandwidth=2.5e6, loss=0.001),
                Condition(name="mobile", delay=0.05, bandwidth=625e3, loss=0.01),
                Condition(name="satellite", delay=0.3, bandwidth=250e3, loss=0.01),
                Condition(name="modem", delay=0.15, bandwidth=7e3, loss=0.02),
            ),
        ),
        EnvironmentExperiment(
            name="threads",
            asks="What do clients with fewer CPU threads cost?",
            axis="threads of the clients",
            conditions=tuple(Condition(name=f"threads-{n}", threads=n) for n in (1, 2, 4, 8)),
            limits="threads",
        ),
        EnvironmentExperiment(
            name="memory",
            asks="What do clients with less memory cost, and which are too small?",
            axis="MiB of the clients",
            conditions=(
                Condition(name="unlimited"),
                *(Condition(name=f"memory-{n}", memory=n) for n in (4096, 2048, 1024, 512)),
            ),
            limits="memory",
        ),
    )
}
