"""URLs as they may be shown: in logs, errors and on the screen."""

from __future__ import annotations

import re
from urllib.parse import unquote_plus


def shown(url: str) -> str:
    """The URL without any password, in its login or among its parameters."""
    bare = re.sub(r"([?&])([^=&?]+)=[^&]*", _without_secret, url)
    if "@" in url and "@" not in bare:  # hidden with the end of the login: better too much
        return re.sub(r"^([^:]+://[^:/@?]*):.*", r"\1:***", bare)
    return re.sub(r"^([^:]+://[^:/@]*):.*@", r"\1:***@", bare)


def _without_secret(parameter: re.Match[str]) -> str:
    mark, key = parameter[1], parameter[2]
    secret = re.search("pass|pwd|secret|token", unquote_plus(key), re.IGNORECASE)
    return f"{mark}{key}=***" if secret else parameter[0]
