"""URLs as they may be shown: in logs, errors and on the screen."""

from __future__ import annotations

import re
from urllib.parse import unquote_plus

_SECRET = re.compile(
    r"pass|pwd|secret|token|(^|[^a-z])(key|sig)|key$|auth|cookie|credential|signature",
    re.IGNORECASE,
)


def is_secret(name: str) -> bool:
    """Whether a parameter or a header of that name holds what nobody else may see."""
    return _SECRET.search(name) is not None


def shown(url: str) -> str:
    """The URL without any password, in its login or among its parameters."""
    bare = re.sub(r"([?&])([^=&?]+)=[^&]*", _without_secret, url)
    if "@" in url and "@" not in bare:  # hidden with the end of the login: better too much
        return re.sub(r"^([^:]+://[^:/@?]*):.*", r"\1:***", bare)
    return re.sub(r"^([^:]+://[^:/@]*):.*@", r"\1:***@", bare)


def _without_secret(parameter: re.Match[str]) -> str:
    mark, key = parameter[1], parameter[2]
    return f"{mark}{key}=***" if is_secret(unquote_plus(key)) else parameter[0]
