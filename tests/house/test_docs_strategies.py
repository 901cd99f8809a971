"""docs/reference/strategies.md: every strategy, its calls, the words added to a question."""

from __future__ import annotations

import re
from typing import get_args

from colm.models.answers.compare import Kind
from colm.models.prompts.answer_format import HINTS
from colm.models.strategies import STRATEGIES
from tests.house.documents import ROOT, rows

PAGE = (ROOT / "docs" / "reference" / "strategies.md").read_text()


def test_the_first_table_lists_every_strategy_and_no_other() -> None:
    listed = [
        re.sub(r"^\[`(.+)`\]\(#.+\)$", r"\1", row[0])
        for row in rows(PAGE, "strategy", "who does what")
    ]
    assert sorted(listed) == sorted(STRATEGIES)


def test_the_words_added_to_a_question_are_those_of_the_page() -> None:
    told = {
        row[0].strip("`"): re.sub(r"\\([\\`])", r"\1", row[1])
        for row in rows(PAGE, "`kind`", "the line that is added")
    }
    assert told == {**HINTS, "text": "nothing"}
    assert set(told) == set(get_args(Kind))


def test_every_strategy_has_a_table_of_its_calls() -> None:
    for name in set(STRATEGIES) - {"single"}:
        section = re.search(rf"^## `{name}`\n(.*?)(?=^## )", PAGE, re.MULTILINE | re.DOTALL)
        assert section is not None, name
        assert len(list(rows(section[1], "stage", "act"))) >= 1, name
