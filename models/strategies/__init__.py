"""The registry of strategies. A new one is a module with an options model and a class that
implements `base.Strategy`, and an entry here (docs/reference/strategies.md has a walk-through).
"""

from __future__ import annotations

from colm.models.strategies.base import Strategy
from colm.models.strategies.colm.strategy import Colm
from colm.models.strategies.cope.cascade import Cascade
from colm.models.strategies.cope.strategy import Cope
from colm.models.strategies.judge import Judge
from colm.models.strategies.moa import Moa, SelfMoa
from colm.models.strategies.resample import Resample
from colm.models.strategies.single import Single
from colm.models.strategies.vote import Vote

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
