"""The strategy `judge`: blinded, in both orders, and never guessing what a reply means."""

from __future__ import annotations

from typing import Any

import pytest

from colm.models.answers.verdicts import read_verdict
from colm.models.errors import InvalidAsk
from colm.models.messages import Query, Step
from colm.models.roster import make_request
from colm.models.strategies import STRATEGIES
from colm.models.strategies.judge import combine_orders, swapped
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


#: By the verdict: replies that give it.
REPLIES: dict[str, list[str]] = {
    "first": [
        "A", "Answer A is better.", "The better answer is A.", "My final verdict is: [[A]]",
        "A is better than B.", "A, because it names the cause and B is wrong.", "A wins.",
        "The verdict is A.", "A\n\nA",
    ],
    "second": [
        " b. ", "**B**", "B: it is right.", "B\nIt is.",
        "The second one names the cause. Verdict: B",
        "<think>\nLet me compare. A is right, B is vague.\n</think>\n\nB",
        "A, hmm, gets the date wrong.</think>\n\nB",
        "A: correct but wordy.\nB: correct and brief.\n\nB",
        "A. The first has a mistake.\nB. The second has none.\n\nVerdict: B",
        "A: wrong year.\nB: right year.\nBetter: B", "Answer A: 7/10\nAnswer B: 9/10\nAnswer B",
        "b", "[[B]]", r"\boxed{B}", "**Verdict:** B", "**Verdict: B**", "Final verdict: Answer B",
        "Winner: B.", "A is better in style. Verdict: B", "\uff22", "(B)", "\"B\"", "Answer: B",
        "The answer B is better because it is right.", "I choose B.", "I prefer answer B.",
        "{\"verdict\": \"B\"}", "<verdict>B</verdict>", "B \u2014 it is right.",
        "A\nwrong year\nB\nright year\nVerdict: B", "A: right\nB: wrong\nB is better",
        "A) wrong\nB) right\nVerdict - B", "Better answer: B", "Response B",
        "Verdict: B (A has the wrong year)", "The better one is B, since A is wrong.",
        "B.\nA is wrong about the year.",
    ],
    "tie": [
        "Tie.", "A: both right\nB: both right\nVerdict: TIE", "It's a tie",
        "Is A better? Verdict: TIE", "It is a tie.", "a tie", "TIE: both right",
        "Both are right.\n\nTIE", "verdict: tie",
    ],
    "unreadable": [
        "It is B", "A is wrong.", "A good answer.", "", "Both A and B are fine",
        "I would say neither", "well", "A\nB", "A, B", "A: wrong year.",
        "A. The first has a mistake.\nB. The second has none.", "Verdict: A\nVerdict: B",
        "Verdict: A or B", "Verdict: A/B", "Verdict: A, B", "Verdict: not A",
        "A is better. B is better.", "A is not better", "A and B", "A & B", "A or B?", "<think>A",
        "Answer A: correct. Answer B: wrong.", "Better: A and B", "Verdict: B\n\nA",
        "A\nIt is.\nVerdict: B", "A: 8\nB: 9", "Answer A\nAnswer B", "Neither is better.",
        "- A: wrong\n- B: right", "Which is better? A", "I would not choose A.",
        "I don't prefer B", "A's answer is better", "Tie\nB", "Verdict: Both", "Verdict: Both A",
        "Verdict: Answer A is wrong",
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("reply", "verdict"), [(reply, verdict) for verdict in REPLIES for reply in REPLIES[verdict]]
)
def test_only_a_plain_verdict_is_read(reply: str, verdict: str) -> None:
    assert read_verdict(reply) == verdict


def test_changing_the_answers_over_changes_the_verdict_over() -> None:
    for one in ("first", "second", "tie", "unreadable"):
        assert swapped(swapped(one)) == one
        for other in ("first", "second", "tie", "unreadable"):
            assert combine_orders(one, other) == combine_orders(other, one)


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
