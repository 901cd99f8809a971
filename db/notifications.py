"""PostgreSQL notifications (LISTEN/NOTIFY) on the driver's connection."""

from __future__ import annotations

import selectors
import time
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, func, select


def receive(driver: Any, timeout: float) -> set[str]:
    """The payloads of the next notifications; none after `timeout` seconds."""
    driver.poll()
    if not driver.notifies:
        with selectors.DefaultSelector() as selector:
            selector.register(driver, selectors.EVENT_READ)
            selector.select(max(timeout, 0.0))
        driver.poll()
    payloads = {notification.payload for notification in driver.notifies}
    driver.notifies.clear()
    return payloads


def send_test(sender: Connection, channel: str) -> str:
    """Notify `channel` of a unique payload, which it returns."""
    payload = f"echo {uuid4()}"
    sender.execute(select(func.pg_notify(channel, payload)))
    return payload


def is_received(driver: Any, payload: str, timeout: float) -> bool:
    """Whether the notification arrives within `timeout` seconds. Others meanwhile are dropped.

    Behind a pooler that gives each transaction another server connection none arrives.
    """
    until = time.monotonic() + timeout
    while payload not in receive(driver, until - time.monotonic()):
        if time.monotonic() >= until:
            return False
    return True
