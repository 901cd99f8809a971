"""The named ways of working together. `STRATEGIES` is the one list of them.

To add one: write a module with an options model and a class that keeps `base.Strategy`, and name it
here. docs/strategies.md walks through it.
"""

from __future__ import annotations

from models.strategies.base import Strategy
from models.strategies.cascade import Cascade
from models.strategies.colm import Colm
from models.strategies.cope import Cope
from models.strategies.judge import Judge
from models.strategies.moa import Moa, SelfMoa
from models.strategies.resample import Resample
from models.strategies.single import Single
from models.strategies.vote import Vote

STRATEGIES: dict[str, Strategy] = {
    "cascade": Cascade(),
    "colm": Colm(),
    "cope": Cope(),
    "judge": Judge(),
    "moa": Moa(),
    "resample": Resample(),
    "self-moa": SelfMoa(),
    "single": Single(),
    "vote": Vote(),
}
