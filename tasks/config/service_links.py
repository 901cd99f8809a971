"""Variables that Kubernetes and Docker set for services, named like settings of ours.

A service called `colm` gives every container COLM_SERVICE_HOST, COLM_PORT=tcp://... and the like.
"""

from __future__ import annotations

import re

_BY_NAME = re.compile(
    r".+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_BY_VALUE = re.compile(r"(tcp|udp|sctp)://")


def is_address(variable: str, value: str) -> bool:
    """Whether this is a service's NAME_PORT, which no setting can look like: tcp://127.0.0.1:80."""
    return variable.endswith("_PORT") and _BY_VALUE.match(value) is not None


def is_service_link(variable: str, value: str) -> bool:
    """Whether a variable of this name and value is one that is set for a service."""
    return is_address(variable, value) or _BY_NAME.fullmatch(variable) is not None
