"""The named ways of working together. `STRATEGIES` is the one list of them.

To add one: write a module with an options model and a class that keeps `base.Strategy`, and name it
here. docs/strategies.md walks through it.
"""

from __future__ import annotations

from models.strategies.base import Strategy
from models.strategies.colm import Colm
from models.strategies.single import Single

STRATEGIES: dict[str, Strategy] = {"colm": Colm(), "single": Single()}
