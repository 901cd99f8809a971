"""Services that live and refuse: no space, no rights, no memory, read-only."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Generator
from pathlib import Path

import httpx
import psycopg2
from psycopg2 import errors

from tests.chaos.faults import Happened, fault
from tests.chaos.site import ROLE, poll
from tests.chaos.small_disk import why_none
from tests.chaos.stages import Load

_REFUSED = "cannot be used now"
_WRITE = "INSERT INTO dead_letters SELECT * FROM dead_letters WHERE false"


def _refuses(load: Load, kind: type[psycopg2.Error]) -> bool:
    """Whether the database refuses a write of a worker's account in this way."""
    try:
        load.site.as_worker(_WRITE)
    except kind:
        return True
    except psycopg2.Error:
        return False
    return False


def _noticed(load: Load, before: int) -> None:
    """Some coordinator has been refused, and waits."""
    load.until(lambda: _refusals(load) > before, "a coordinator is refused and says so")


def _refusals(load: Load) -> int:
    names = ("coordinator-1", "coordinator-2")
    return sum(load.site.log(name).count(_REFUSED) for name in names)


@fault("database turns read-only", "accepting", "drafting", "refining", hold=5)
def _read_only(load: Load) -> Generator[Happened]:
    before = _refusals(load)
    load.database.do("ALTER SYSTEM SET default_transaction_read_only = on")
    load.database.do("SELECT pg_reload_conf()")
    load.until(lambda: _refuses(load, errors.ReadOnlySqlTransaction), "read-only")
    _noticed(load, before)
    yield Happened("writes refused: read-only")
    load.database.do("ALTER SYSTEM RESET default_transaction_read_only")
    load.database.do("SELECT pg_reload_conf()")


@fault("database takes rights away", "drafting", hold=5)
def _no_rights(load: Load) -> Generator[Happened]:
    before = _refusals(load)
    load.database.do(f"REVOKE INSERT, UPDATE ON ALL TABLES IN SCHEMA public FROM {ROLE}")
    load.until(lambda: _refuses(load, errors.InsufficientPrivilege), "no rights")
    _noticed(load, before)
    yield Happened("writes refused: no rights")
    load.database.do(f"GRANT INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO {ROLE}")


@fault("database's disk is full", "drafting", hold=5, missing=why_none, small_disk=True)
def _full_disk(load: Load) -> Generator[Happened]:
    """Everything that is free is taken. PostgreSQL may go down over it, and is started again."""
    assert load.site.small_disk is not None
    before, filler = _refusals(load), load.site.small_disk / "filler"
    _fill(filler)
    assert shutil.disk_usage(load.site.small_disk).free == 0
    load.until(lambda: "No space left" in load.site.postgres.log, "PostgreSQL says so")
    _noticed(load, before)
    yield Happened("no space left on the database's disk")
    filler.unlink()
    if not load.site.postgres.alive:
        load.site.postgres.start()


def _fill(path: Path) -> None:
    block = bytes(1 << 16)
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(block)


def _alarms(load: Load) -> bool:
    """Whether the broker says that an alarm is on: then it takes nothing from publishers."""
    reply = httpx.get(f"{load.site.rabbitmq.api_url}/api/health/checks/alarms", trust_env=False)
    return reply.status_code == httpx.codes.SERVICE_UNAVAILABLE


@fault("broker's memory alarm", "accepting", "drafting", "refining", hold=12)
def _memory_alarm(load: Load) -> Generator[Happened]:
    load.site.rabbitmq.ctl("set_vm_memory_high_watermark", "0.0001")
    poll(lambda: _alarms(load), timeout=60, what="the alarm")
    yield Happened("memory alarm on")
    load.site.rabbitmq.ctl("set_vm_memory_high_watermark", "0.6")
    poll(lambda: not _alarms(load), timeout=60, what="the end of the alarm")


@fault("broker's disk alarm", "drafting", hold=12)
def _disk_alarm(load: Load) -> Generator[Happened]:
    load.site.rabbitmq.ctl("set_disk_free_limit", "1000000GB")
    poll(lambda: _alarms(load), timeout=60, what="the alarm")
    yield Happened("disk alarm on")
    load.site.rabbitmq.ctl("set_disk_free_limit", "50MB")
    poll(lambda: not _alarms(load), timeout=60, what="the end of the alarm")
