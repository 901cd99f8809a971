"""Which answer the caller is given, and how a server's selection is read."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from colm.models.answers.selection import medoid, read_selection

WORDS = st.sampled_from(["sky", "light", "blue", "air", "scatter", "short"])
ANSWERS = st.lists(WORDS, max_size=6).map(" ".join)
NAMES = ("ada", "bo", "cy", "di")


@given(st.lists(ANSWERS, min_size=2, max_size=6), st.data())
def test_the_order_of_the_answers_decides_nothing_but_a_tie(
    texts: list[str], data: st.DataObject
) -> None:
    answers = {f"client{i}": text for i, text in enumerate(texts)}
    shuffled = dict(data.draw(st.permutations(list(answers.items()))))
    first, second = medoid(answers), medoid(shuffled)
    assert first.because == second.because  # the same agreement, so a tie where the names differ


@given(st.lists(ANSWERS, min_size=1, max_size=6))
@example(["sky sky sky", f"{'light ' * 5}sky", "sky sky light", f"{'light ' * 5}sky"])
def test_the_chosen_is_one_of_them_and_of_equals_the_one_listed_first(texts: list[str]) -> None:
    answers = {f"client{i}": text for i, text in enumerate(texts)}
    chosen = medoid(answers).name
    assert chosen == next(name for name in answers if answers[name] == answers[chosen])


@given(st.integers(1, 3), st.integers(2, 4), st.randoms(use_true_random=False))
def test_a_majority_wins_among_answers_that_share_no_word(
    others: int, more: int, random: Random
) -> None:
    majority = [("yes", i) for i in range(others + more)]
    minority = [(f"other{i}", i) for i in range(others)]
    everyone = [*majority, *minority]
    random.shuffle(everyone)
    answers = {f"{text}-{i}": text for text, i in everyone}
    assert answers[medoid(answers).name] == "yes"


def test_a_single_answer_is_chosen_because_it_is_the_only_one() -> None:
    assert medoid({"ada": "42"}) == ("ada", "the only answer")


def test_nothing_to_choose_from_is_an_error() -> None:
    with pytest.raises(ValueError, match="no answer"):
        medoid({})


def test_case_and_punctuation_do_not_count() -> None:
    choice = medoid({"ada": "Seven.", "bo": "forty-two", "cy": "seven"})
    assert choice.name == "ada"
    assert choice.because == "agrees most with the other answers (mean token F1 0.50)"


def test_two_empty_answers_agree_with_each_other_and_with_nothing_else() -> None:
    assert medoid({"ada": "42", "bo": "", "cy": "..."}).name == "bo"


def test_of_three_answers_the_one_between_the_others_is_chosen() -> None:
    answers = {"ada": "red green", "bo": "green blue", "cy": "blue black"}
    assert medoid(answers).name == "bo"


@pytest.mark.parametrize(
    ("reply", "k", "names", "remark"),
    [
        ("ada, bo", 2, "ada bo", "as named"),
        ("bo,ada", 2, "bo ada", "as named"),
        ("Ada and Bo", 2, "ada bo", "repaired: names taken from a longer reply"),
        ("ADA.", 1, "ada", "as named"),
        ("bo\nada\n", 2, "bo ada", "as named"),
        ("1. **bo** 2. **ada**", 2, "bo ada", "repaired: names taken from a longer reply"),
        ("ada, ada, bo", 2, "ada bo", "repaired: names taken from a longer reply"),
        ("ada, bo, cy", 2, "ada bo", "repaired: 3 clients named, the first 2 taken"),
        ("ada", 2, "ada", "repaired: only 1 of 2 clients named"),
        ("nobody", 2, "", "refused: the reply names no known client"),
        ("", 2, "", "refused: the reply names no known client"),
        ("adamant bonus cyan", 1, "", "refused: the reply names no known client"),
        ("ada-two", 1, "", "refused: the reply names no known client"),
        ("zoe, di", 2, "di", "repaired: only 1 of 2 clients named"),
        ("<think>ada is no use; bo is.</think>\ncy, bo", 2, "cy bo", "as named"),
        ("cy and bo, not ada", 2, "cy bo", "repaired: names taken from a longer reply"),
        ("not ada or bo: cy", 1, "cy", "repaired: names taken from a longer reply"),
        ("cy rather than ada, di", 2, "cy", "repaired: only 1 of 2 clients named"),
        ("Everybody except bo.", 1, "", "refused: the reply names no known client"),
        (
            "ada: sums. bo: history.\nSelected: bo",
            1,
            "bo",
            "repaired: names taken from a longer reply",
        ),
        ("**Answer:** di, cy", 2, "di cy", "repaired: names taken from a longer reply"),
        ("<think>ada, bo", 2, "", "refused: the reply names no known client"),
    ],
)
def test_a_selection_is_read(reply: str, k: int, names: str, remark: str) -> None:
    assert read_selection(reply, NAMES, k) == (tuple(names.split()), remark)


@pytest.mark.parametrize(
    ("reply", "names"),
    [
        ("<think>ada knows nothing of this; bo does.</think>\ncy, bo", "cy bo"),
        ("not ada, but bo and cy", "bo cy"), ("neither ada nor bo: cy", "cy"),
        ("bo, cy (not ada)", "bo cy"), ("ada is not suited, so bo and cy.", "bo cy"),
        ("I would leave out ada. bo, cy", "bo cy"),
        ("ada knows nothing of this.\nbo\ncy", "bo cy"), ("Instead of ada I choose bo.", "bo"),
        ("ada and bo don't fit; cy", "cy"), ("<think>ada", ""), ("ada rather than bo", "ada"),
        ("**Selection:** bo, cy", "bo cy"), ("Bo and cy, because ada lacks the field.", "bo cy"),
        ("I choose 选择ada和bo", "ada bo"), ("ADA\uff0cBO", "ada bo"),
        ("no need for ada; take cy", "cy"), ("ada?</think>bo", "bo"),
        ("not ada or bo but cy", "cy"), ("Ada can do this, bo cannot.", "ada"),
        ("ada cannot. bo can.", "bo"), ("without ada", ""), ("ada, not bo", "ada"),
        ("ada, then bo", "ada bo"), ("ada (chemistry), bo (physics)", "ada bo"),
        ("Since bo and cy know physics, I pick cy and bo.\n\ncy, bo", "cy bo"),
    ],
)  # fmt: skip
def test_names_in_a_thought_and_names_that_are_left_out_are_not_selected(
    reply: str, names: str
) -> None:
    selected = read_selection(reply, ("ada", "bo", "cy"), len(names.split()) or 1)

    assert selected.names == tuple(names.split())


def test_a_name_that_begins_anothers_is_told_from_it() -> None:
    known = ("ada", "ada-two", "ada_3")
    assert read_selection("ada-two, ada", known, 2).names == ("ada-two", "ada")
    assert read_selection("ada_3", known, 1) == (("ada_3",), "as named")


@given(st.text(max_size=80) | st.lists(st.sampled_from(NAMES)).map(", ".join), st.integers(1, 4))
def test_a_selection_never_names_too_many_or_a_stranger_or_one_twice(reply: str, k: int) -> None:
    selection = read_selection(reply, NAMES, k)
    assert len(selection.names) <= k
    assert set(selection.names) <= set(NAMES)
    assert len(set(selection.names)) == len(selection.names)
    assert selection.remark.startswith("refused") == (not selection.names)
