"""The receipt that a coordinator gives for a submission."""

from __future__ import annotations

from typing import Literal

#: recorded: the step's outcome is now this one. repeated: the step had an outcome from the same
#: kind of submission already, nothing changed. late: the step was closed before; kept apart.
#: unasked: no such step was ever asked of this participant; nothing was stored.
Receipt = Literal["recorded", "repeated", "late", "unasked"]
