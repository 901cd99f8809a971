"""Check that a TCP port is free, before a server binds it."""

from __future__ import annotations

from tornado.netutil import bind_sockets

from colm.models.errors import ColmError


def check_port_free(address: str, port: int) -> None:
    """Bind the port and close it again. Raises ColmError if it cannot be bound."""
    try:
        for bound in bind_sockets(port, address):
            bound.close()
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ColmError(
            f"{address}:{port} cannot be listened on: {why}; choose another --port or --address"
        ) from error
