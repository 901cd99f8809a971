"""The result of recording a submission."""

from __future__ import annotations

from typing import Literal

#: recorded: it is the step's outcome. repeated: the step had this outcome; nothing changed. late:
#: the step was closed; recorded as late. unasked: this participant has no such step; not recorded.
Receipt = Literal["recorded", "repeated", "late", "unasked"]
