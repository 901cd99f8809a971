"""`colm flower`: Flower over our broker, on loopback unless told otherwise."""

from __future__ import annotations

from models.errors import ColmError, SettingsError
from models.urls import check_http
from tasks.celery_app import app
from tasks.settings import forget_service_links
from workers.ports import check_free


def run_flower(port: int, address: str, broker_api: str | None) -> None:
    """Serve Flower until it is stopped. Raises ColmError where it cannot listen or be configured.

    It answers /metrics and /healthcheck without any password: listen on loopback, or put a proxy
    that asks for one before it.
    """
    forget_service_links("FLOWER_")
    check_free(address, port)
    arguments = ["flower", f"--port={port}", f"--address={address}", "--max_tasks=20000"]
    # Flower leaves the arguments out of its list unless they are asked for.
    arguments.append("--tasks_columns=name,state,kwargs,result,received,runtime,worker")
    if broker_api:
        try:
            check_http(broker_api)
        except ValueError as error:
            raise SettingsError(f"--broker-api: {error}") from None
        arguments.append(f"--broker_api={broker_api}")
    try:
        app.start(arguments)
    except (ValueError, OSError) as error:  # of its own variables, FLOWER_PORT and the like
        raise ColmError(f"Flower cannot be started: {error}") from error
