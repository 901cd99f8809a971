"""Many faults in a row: a site is kept from one to the next for as long as it is sound."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos import faults_network, faults_services, faults_steps, faults_workers
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.matrix import Row, inject
from tests.chaos.site import ChaosSite
from tests.chaos.small_disk import small_disk

#: What registers further faults when it is imported.
REGISTERED = (faults_network, faults_services, faults_workers, faults_steps)


#: Of an error, which may carry the ends of many logs (characters).
MOST_TOLD = 3_000


@dataclass(frozen=True, kw_only=True)
class Broken:
    """An injection that did not come to its end: a fault that did not happen, a site that stuck."""

    fault: str
    stage: str
    error: str


@dataclass
class Campaign:
    """Use as a context manager: it holds a site, and starts another after a broken injection."""

    _entered: ExitStack = field(default_factory=ExitStack)
    _site: ChaosSite | None = None
    _kind: tuple[object, ...] = ()

    def __enter__(self) -> Campaign:
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    def run(self, cases: Sequence[tuple[Fault, str]], count: int) -> Iterator[Row | Broken]:
        """Inject each fault at its stage into a wave of `count` queries.

        Raises ServiceBroken for a site that cannot even start.
        """
        for fault, stage in cases:
            site = self._site_for(fault)
            try:
                yield inject(site, fault, stage, count)
            except Exception as error:  # noqa: BLE001  # the other faults are wanted, too
                self._leave()
                yield Broken(fault=fault.name, stage=stage, error=f"{error!r}"[:MOST_TOLD])

    def _site_for(self, fault: Fault) -> ChaosSite:
        if self._site is None or self._kind != fault.site:
            self._leave()
            self._kind = fault.site
            folder = Path(self._entered.enter_context(tempfile.TemporaryDirectory(prefix="colm-")))
            disk = self._entered.enter_context(small_disk()) if fault.small_disk else None
            site = ChaosSite(folder, small_disk=disk)
            site.variables.update(fault.variables)
            self._site = self._entered.enter_context(site)
        return self._site

    def _leave(self) -> None:
        self._site = None
        self._entered.close()


def cases() -> list[tuple[Fault, str]]:
    """Every fault at each of its stages; faults of one kind of site follow each other."""
    faults = sorted(FAULTS.values(), key=lambda fault: str(fault.site))
    return [(fault, stage) for fault in faults for stage in fault.stages]
