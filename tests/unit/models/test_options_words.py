# ruff: noqa: RUF001 - texts in other alphabets are meant
"""The words of options are found as whole ones, the longest first."""

from __future__ import annotations

import pytest

from colm.models.answers.compare import extract

VITAMINS: tuple[str, ...] = ("Vitamin C", "Vitamin D", "Vitamin A", "Vitamin B")
GROUPS: tuple[str, ...] = ("Group B", "Group A", "Group D", "Group C")
POWERS: tuple[str, ...] = ("4", "8", "16", "32")
SEXES: tuple[str, ...] = ("male", "female", "both", "neither")
NO_YES: tuple[str, ...] = ("no", "yes")
MINUTES: tuple[str, ...] = ("5 minutes", "50 minutes", "15 minutes", "10 minutes")
DEGREES: tuple[str, ...] = ("100°C", "20°C", "0°C", "37°C")
FRUIT: tuple[str, ...] = ("苹果", "香蕉", "红苹果", "梨")
ELEMENTS: tuple[str, ...] = ("carbon [C]", "oxygen [O]", "nitrogen [N]", "copper [Cu]")
NUMBERS: tuple[str, ...] = ("1,000", "1.5", "-3", "1/2")
ROMAN: tuple[str, ...] = ("I", "II", "III", "I and II")
ONLY: tuple[str, ...] = ("A only", "B only", "both A and B", "neither A nor B")
TRUTH: tuple[str, ...] = ("True", "False")
COLOURS: tuple[str, ...] = ("red", "blue", "cannot be determined", "green")
LANGUAGES: tuple[str, ...] = ("Java", "C++", "C", "Python")
WITHIN: tuple[str, ...] = ("heat", "wheat", "eat", "at")
DIGITS: tuple[str, ...] = ("1", "2", "3", "4")
ALL: tuple[str, ...] = ("All of the above", "None of the above", "gravity", "friction")
CHANGES: tuple[str, ...] = ("nothing", "no change", "a change", "change of state")
PHYSICAL: tuple[str, ...] = (
    "physical change", "chemical change", "no change", "both physical and chemical change",
)  # fmt: skip
PRICES: tuple[str, ...] = ("$5", "$10", "$15", "$20")
FRACTIONS: tuple[str, ...] = ("1/2", "1/4", "3/4", "1")
TIMES: tuple[str, ...] = ("12:30", "1:30", "12:00", "2:30")
SIGNED: tuple[str, ...] = ("-5", "5", "0", "15")
SENTENCES: tuple[str, ...] = ("It is cold. The air is dry.", "It is hot.", "It is wet", "nothing")
DENYING: tuple[str, ...] = ("It does not move.", "It moves.", "It stops", "It falls")

#: By the options: texts that name each letter, and texts that name none.
READ: dict[tuple[str, ...], dict[str | None, list[str]]] = {
    VITAMINS: {
        "A": ["The answer is vitamin C.", "Vitamin C", "It is vitamin C, of course."],
        "C": ["The answer is C.", "The answer is C, vitamin A."],
        "D": ["I'd say vitamin b."],
        None: ["Vitamin K", "It must be vitamin E."],
    },
    GROUPS: {
        "B": ["Answer: Group A"],
        "C": ["It is group D"],
        None: ["Group E"],
    },
    POWERS: {
        "A": ["It is 4."],
        "C": ["The result is 16.", "16", "16.", "The answer is 16.0"],
        "D": ["The answer is 32."],
        None: [
            "The result is 64.", "It is 4.5", "-4", "1/4", "4/8", "3.16", "2^4", "160", "16,5",
        ],
    },
    SEXES: {
        "A": ["It must be male."],
        "B": ["It must be female.", "The answer is female"],
        "D": ["neither"],
        None: ["female and male", "non-male", "females"],
    },
    NO_YES: {
        "A": [
            "No.", "no", "No, it is not.", "The answer is no.", "Answer: No", "I would say no.",
            "No because it is cold",
        ],
        "B": ["Yes, because nothing else fits.", "The answer is yes.", "It is a yes from me"],
        None: [
            "I am not sure about this one, sorry.", "I do not know.", "There is no way to know.",
            "No idea.", "I have no idea", "Nobody knows", "yesterday",
        ],
    },
    MINUTES: {
        "A": ["5 minutes"],
        "C": ["It would take 15 minutes."],
        "D": ["about 10 minutes or so"],
        None: ["It would take 150 minutes.", "1.5 minutes", "2:15 minutes", "105 minutes"],
    },
    DEGREES: {
        "A": ["I think it is 100°C."],
        "B": ["20°C.."],
        "C": ["0°C"],
        "D": ["37°C"],
        None: ["It is 25°C."],
    },
    FRUIT: {
        "A": ["苹果"],
        "B": ["我觉得是香蕉"],
        "C": ["是红苹果。", "答案是红苹果。"],
    },
    ELEMENTS: {
        "A": ["I think it is carbon [C]."],
        "C": ["The answer is C"],
        "D": ["copper [Cu]"],
        None: ["carbon"],
    },
    NUMBERS: {
        "A": ["The answer is 1000", "1,000"],
        "B": ["The answer is 1.50"],
        "C": ["The answer is -3."],
        "D": ["The answer is 0.5", "The answer is ½"],
        None: ["The answer is 3."],
    },
    ROMAN: {
        "A": ["The answer is I."],
        "B": ["The answer is II."],
        "C": ["III", "The answer is C"],
        "D": ["The answer is I and II.", "I and II"],
        None: ["The answer is IV"],
    },
    ONLY: {
        "A": ["A only"],
        "B": ["The answer is B only"],
        "C": ["The answer is both A and B.", "The answer is C"],
        "D": ["The answer is neither A nor B"],
    },
    TRUTH: {
        "A": ["True", "It is true."],
        "B": ["The statement is false."],
        None: ["untrue", "It is not true."],
    },
    COLOURS: {
        "A": ["It's red rather than blue."],
        "B": ["It is not red but blue.", "It is blue, not red."],
        "C": ["The colour cannot be determined.", "The answer is cannot be determined"],
        "D": ["Red is wrong. Blue is wrong. Green is correct"],
        None: [
            "I cannot determine it.", "It isn't red.", "Neither red nor blue", "bluegreen",
            "red or blue", "I do not know if it is red.", "Not sure, maybe red",
        ],
    },
    LANGUAGES: {
        "B": ["The answer is C++.", "It is C++."],
        "C": ["The answer is C."],
        "D": ["Python!"],
        None: ["JavaScript"],
    },
    WITHIN: {
        "A": ["heat", "It is the heat that matters"],
        "B": ["It is wheat."],
        "C": ["eat"],
        None: ["cheating"],
    },
    DIGITS: {
        "B": ["The answer is 2.", "2", "2%"],
        "C": ["The answer is C.", "3"],
        "D": ["Answer: 4"],
        None: ["12", "2.5", "-2", "2/3", "22", "2,000"],
    },
    ALL: {
        "A": ["All of the above", "The answer is all of the above."],
        "B": ["none of the above"],
        "C": ["It's gravity."],
        None: ["gravity and friction"],
    },
    CHANGES: {
        "A": ["nothing"],
        "B": ["There is no change."],
        "C": ["a change"],
        "D": ["It is a change of state"],
    },
    PHYSICAL: {
        "B": ["It is a chemical change."],
        "C": ["no change"],
        "D": ["both physical and chemical change"],
        None: ["It is not a chemical change"],
    },
    PRICES: {
        "A": ["$5"],
        "B": ["The answer is $10"],
        "C": ["It costs $15.", "15 dollars"],
        None: ["$150", "$1", "$5.50"],
    },
    FRACTIONS: {
        "A": ["1/2", r"The answer is \frac{1}{2}"],
        "C": ["The answer is 3/4", "The answer is 0.75"],
        "D": ["1"],
        None: ["11/2"],
    },
    TIMES: {
        "A": ["12:30"],
        "B": ["1:30"],
        "D": ["It is 2:30."],
        None: ["11:30"],
    },
    SIGNED: {
        "A": ["-5", "The answer is −5.", "The answer is \u20135", "The answer is minus 5."],
        "B": ["5", "The answer is 5."],
        "D": ["15"],
    },
    SENTENCES: {
        "A": ["It is cold. The air is dry."],
        "B": ["The answer is It is hot."],
    },
    DENYING: {
        "A": ["It does not move.", "The answer is: It does not move."],
        "B": ["It moves."],
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("choices", "text", "letter"),
    [
        (choices, text, letter)
        for choices, letters in READ.items()
        for letter, texts in letters.items()
        for text in texts
    ],
)
def test_the_words_of_one_option_name_it(
    choices: tuple[str, ...], text: str, letter: str | None
) -> None:
    assert extract(text, "choice", choices=choices) == letter


def test_a_letter_that_folds_to_two_is_read_like_any_other() -> None:
    choices = ("istanbul", "izmir")

    assert extract("It is \u0130stanbul, not \u0131zmir", "choice", choices=choices) == "A"
    assert extract("It is Istanbul.", "choice", choices=choices) == "A"
