"""Tests that take turns: any number at once, or one alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.provision.turns import Turns

SOON = 10


class Visitor:
    """Waits for its turn in a thread of its own; the locks do not tell threads from processes."""

    def __init__(self, folder: Path, *, alone: bool) -> None:
        self.turns = Turns(folder)
        self.inside = threading.Event()
        self._thread = threading.Thread(target=self._enter, args=(alone,), daemon=True)
        self._thread.start()

    def _enter(self, alone: bool) -> None:
        self.turns.take(alone=alone)
        self.inside.set()

    def leave(self, *, keep: bool = False) -> None:
        assert self.inside.wait(SOON)
        self.turns.give_back(keep=keep)


@pytest.fixture
def visit(tmp_path: Path) -> Iterator[Callable[..., Visitor]]:
    with ExitStack() as closing:

        def come(*, alone: bool) -> Visitor:
            visitor = Visitor(tmp_path, alone=alone)
            closing.callback(visitor.turns.close)
            return visitor

        yield come


def test_others_are_in_together(visit: Callable[..., Visitor]) -> None:
    visitors = [visit(alone=False) for _ in range(3)]
    assert all(visitor.inside.wait(SOON) for visitor in visitors)


def test_one_that_is_alone_waits_for_those_inside_and_comes_before_those_outside(
    visit: Callable[..., Visitor],
) -> None:
    early = visit(alone=False)
    assert early.inside.wait(SOON)
    alone = visit(alone=True)
    assert not alone.inside.wait(0.2)
    late = visit(alone=False)
    assert not late.inside.wait(0.2)

    early.leave()
    assert alone.inside.wait(SOON)
    assert not late.inside.wait(0.2)
    alone.leave()
    assert late.inside.wait(SOON)


def test_one_that_keeps_its_turn_is_alone_until_it_gives_it_back(
    visit: Callable[..., Visitor],
) -> None:
    alone = visit(alone=True)
    alone.leave(keep=True)
    other = visit(alone=False)
    assert not other.inside.wait(0.2)

    alone.turns.take(alone=True)
    alone.leave()
    assert other.inside.wait(SOON)


def test_who_is_gone_leaves_its_turn(visit: Callable[..., Visitor]) -> None:
    gone = visit(alone=True)
    assert gone.inside.wait(SOON)
    gone.turns.close()
    assert visit(alone=True).inside.wait(SOON)
