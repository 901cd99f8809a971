"""Whether this process can listen where it is told to."""

from __future__ import annotations

from tornado.netutil import bind_sockets

from colm.models.errors import ColmError


def check_free(address: str, port: int) -> None:
    """Raises ColmError where nobody can listen at this address and port now."""
    try:
        for bound in bind_sockets(port, address):
            bound.close()
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ColmError(
            f"{address}:{port} cannot be listened on: {why}; choose another --port or --address"
        ) from error
