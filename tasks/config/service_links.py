"""Service links: variables that Kubernetes and Docker set, which look like settings.

A service called `colm` sets COLM_SERVICE_HOST, COLM_PORT=tcp://... in every container.
"""

from __future__ import annotations

import re

_BY_NAME = re.compile(
    r".+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_BY_VALUE = re.compile(r"(tcp|udp|sctp)://")


def is_address(variable: str, value: str) -> bool:
    """Whether this is a service's NAME_PORT=tcp://127.0.0.1:80, which is never a setting."""
    return variable.endswith("_PORT") and _BY_VALUE.match(value) is not None


def is_service_link(variable: str, value: str) -> bool:
    """Whether this is a service link."""
    return is_address(variable, value) or _BY_NAME.fullmatch(variable) is not None
