"""The strategy `judge`: blinded, in both orders, and never guessing what a reply means."""

from __future__ import annotations

from typing import Any

import pytest

from models.errors import InvalidAsk
from models.messages import Query, Step
from models.roster import make_request
from models.strategies import STRATEGIES
from models.strategies.judge import of_both, swapped
from models.verdicts import read_verdict
from tests.unit.examples import a_query
from tests.unit.simulation import Reply, play

ONE, TWO = "It scatters.", "It is the sea."


def judged(**options: Any) -> Query:
    return a_query(strategy="judge", options={"answers": [ONE, TWO], **options})


def replying(*texts: str | None) -> Any:
    def reply(step: Step) -> Reply:
        text = texts[step.index]
        return Reply(error="no memory") if text is None else Reply(text=text)

    return reply


def test_both_orders_are_asked_of_the_server_and_nobody_is_named() -> None:
    game = play(judged(reference="Rayleigh."), replying("A", "B"))
    assert [(s.act, s.participant, s.index) for s in game.asked] == [
        ("judge", "main", 0), ("judge", "main", 1),
    ]  # fmt: skip
    there, back = (s.messages[-1].content for s in game.asked)
    assert there.index(ONE) < there.index(TWO)
    assert back.index(TWO) < back.index(ONE)
    assert "Rayleigh." in there
    assert {s.sampling.temperature for s in game.asked} == {0}
    assert not any(s.choices for s in game.asked)


@pytest.mark.parametrize(
    ("replies", "verdict", "consistent"),
    [
        (("A", "B"), "first", True),
        (("B", "A"), "second", True),
        (("A", "A"), "tie", False),  # whatever is read first
        (("TIE", "TIE"), "tie", True),
        (("A", "TIE"), "tie", False),
        (("A", "well"), "unreadable", False),
        (("well", "well"), "unreadable", True),
    ],
)
def test_the_verdict_is_what_both_orders_say(
    replies: tuple[str, str], verdict: str, consistent: bool
) -> None:
    answer = play(judged(), replying(*replies)).answer
    assert (answer.answer, answer.chosen) == (verdict, "main")
    assert (answer.detail["verdict"], answer.detail["consistent"]) == (verdict, consistent)


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("A", "first"), (" b. ", "second"), ("**B**", "second"), ("Tie.", "tie"),
        ("Answer A is better.", "first"), ("B: it is right.", "second"), ("B\nIt is.", "second"),
        ("The second one names the cause. Verdict: B", "second"), ("It is B", "unreadable"),
        ("The better answer is A.", "first"),
        ("A is wrong.", "unreadable"), ("A good answer.", "unreadable"), ("", "unreadable"),
        ("Both A and B are fine", "unreadable"), ("I would say neither", "unreadable"),
        ("<think>\nA is right, B is vague.\n</think>\n\nB", "second"),
        ("<think>A wins", "unreadable"),
        ("A, hmm, gets the date wrong.</think>\n\nB", "second"), ("b", "second"), ("(B)", "second"),
        ("A: correct but wordy.\nB: correct and brief.\n\nB", "second"), ("TIE", "tie"),
        ("A. It has a mistake.\nB. It has none.\n\nVerdict: B", "second"), ("It's a tie", "tie"),
        ("A: wrong year.\nB: right year.\nBetter: B", "second"), ("A: wrong year.", "unreadable"),
        ("A: both right\nB: both right\nVerdict: TIE", "tie"), ("A\nB", "unreadable"),
        ("Answer A: 7/10\nAnswer B: 9/10\nAnswer B", "second"), ("A, B", "unreadable"),
        ("[[B]]", "second"), ("My final verdict is: [[A]]", "first"), ("**Verdict:** B", "second"),
        ("Verdict: **A**", "first"), ("\\boxed{B}", "second"), ('{"verdict": "B"}', "second"),
        ("A is better than B.", "first"), ("B is better than A: it is right.", "second"),
        ("A is not better than B.", "unreadable"), ("Neither is better.", "tie"),
        ("I prefer B.", "second"), ("Verdict: A\nVerdict: B", "unreadable"),
        ("The winner is B!", "second"), ("A. Because it is right.", "first"),
        ("They are equally good.", "tie"), ("A is a better answer", "unreadable"),
        ("A\n\nAnswer A names the year.", "first"), ("A is wrong and B is right.", "unreadable"),
        ("Verdict: B\nA is better in style.", "second"), ("Better: neither", "unreadable"),
    ],
)  # fmt: skip
def test_only_a_plain_verdict_is_read(reply: str, verdict: str) -> None:
    assert read_verdict(reply) == verdict


def test_changing_the_answers_over_changes_the_verdict_over() -> None:
    for one in ("first", "second", "tie", "unreadable"):
        assert swapped(swapped(one)) == one
        for other in ("first", "second", "tie", "unreadable"):
            assert of_both(one, other) == of_both(other, one)


def test_judged_in_one_order_alone_is_not_judged() -> None:
    answer = play(judged(), replying("A", None)).answer
    assert answer.status == "failed"
    assert "no memory" in str(answer.reason)


def test_a_verdict_by_likelihood_is_one_of_three_continuations() -> None:
    game = play(judged(by_likelihood=True), replying("A", "B"))
    assert {s.choices for s in game.asked} == {("A", "B", "TIE")}
    assert game.answer.answer == "first"


def test_texts_of_any_length_fit_into_the_prompt() -> None:
    long = "x" * 100_000
    game = play(judged(answers=[long, long], reference=long), replying("A", "B"))
    assert "characters left out" in game.asked[0].messages[-1].content


@pytest.mark.parametrize("answers", [["one"], ["one", "two", "three"]])
def test_it_takes_two_answers(answers: list[str]) -> None:
    with pytest.raises(InvalidAsk, match="answers"):
        make_request("Why?", {"strategy": "judge", "answers": answers})


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [({"server": None}, "needs a server"), ({"options": {}}, r"answers=\[one, other\]")],
)
def test_it_needs_a_server_and_something_to_judge(changes: dict[str, Any], complaint: str) -> None:
    query = judged().model_copy(update=changes)
    with pytest.raises(InvalidAsk, match=complaint):
        STRATEGIES["judge"].check(query)
