"""Experiments whose points differ in what surrounds the clients, not in what is asked. Pure.

Each condition is a run of its own, for which the clients' processes are started under it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from colm.evaluation.experiments.catalogue import Layout, Place


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What surrounds the clients while one run is worked on."""

    name: str
    #: The network between them and the broker, each way: seconds; bytes a second, None for no
    #: bound; the share of lost segments.
    delay: float = 0.0
    bandwidth: float | None = None
    loss: float = 0.0
    #: CPU threads of the clients' engine; None leaves it to the settings.
    threads: int | None = None
    #: MiB of private memory that each process of clients may have; None is no limit.
    memory: int | None = None


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """An experiment on conditions; the first one is what the others are compared with."""

    name: str
    asks: str
    axis: str
    conditions: Sequence[Condition]
    #: What a condition limits whose name is this and a number: others than those above may be
    #: asked for.
    limits: Literal["threads", "memory"] | None = None

    def condition(self, name: str) -> Condition | None:
        """The condition of that name; None where there is none."""
        for one in self.conditions:
            if one.name == name:
                return one
        found = re.fullmatch(rf"{self.limits}-([1-9]\d{{0,6}})", name)
        if found is None:
            return None
        limit = int(found[1])
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
                one.name: Place(series="colm", x=x, label=one.name)
                for x, one in enumerate(self.conditions)
            },
        )


SURROUNDINGS: dict[str, Surroundings] = {
    one.name: one
    for one in (
        Surroundings(
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
        Surroundings(
            name="threads",
            asks="What do clients with fewer CPU threads cost?",
            axis="threads of the clients",
            conditions=tuple(Condition(name=f"threads-{n}", threads=n) for n in (1, 2, 4, 8)),
            limits="threads",
        ),
        Surroundings(
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
