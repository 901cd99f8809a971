"""Threads for torch's operations on a CPU: one pool of them in a process, and no second.

torch splits an operation over a pool that OpenMP keeps for each thread that calls it. Once the
pools of a process have more threads than there are processors, GNU's OpenMP lets their threads
sleep between two operations, and to wake them costs as much as many an operation takes
(`python -m benchmarks.engine.pools`). So who loads a model does it without a pool,
and the thread that generates has the only one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def single_intraop_pool(threads: int | None = None) -> Iterator[None]:
    """Operations of the calling thread run on it alone.

    Afterwards it has `threads`, and so has every thread that starts then; None: as many as before.
    """
    later = threads or torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(later)
