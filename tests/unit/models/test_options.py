# ruff: noqa: RUF001 - texts in other alphabets are meant
"""Options of a choice are told from what only looks like one."""

from __future__ import annotations

import pytest

from colm.models.answers.compare import extract, vote
from colm.models.answers.options import parse_options

SKY: tuple[str, ...] = ("the sun", "the moon", "a star", "a comet")
GERMS: tuple[str, ...] = ("Influenza", "E. coli", "Malaria", "Rabies", "Ebola")
UNKNOWN: tuple[str, ...] = ()
EIGHTEEN: tuple[str, ...] = (
    "red", "orange", "yellow", "green", "blue", "brown", "magenta", "fuchsia", "mauve", "teal",
    "turquoise", "burgundy", "silver", "gold", "black", "grey", "purple", "pink",
)  # fmt: skip

#: By the options: texts that name each letter, and texts that name none.
READ: dict[tuple[str, ...], dict[str | None, list[str]]] = {
    SKY: {
        "A": [
            "A is the correct answer", "A is a correct statement, so the answer is A",
            "The answer is a.", "a", "A.",
        ],
        "B": [
            "The answer is B.", "B", "b", "(b)", "B.", "**B**", "[B]", "Ｂ", "Answer: （Ｂ）",
            "正确答案是B。", "正解はBです。", "정답은 B입니다.", "选B", "故选：B。", "答案：B",
            "我选择B，因为月亮很亮。", "La respuesta correcta es la B.",
            "La bonne réponse est B.", "Die richtige Antwort ist B.", "Правильный ответ: B",
            "الإجابة الصحيحة هي B", "सही उत\u094dतर B ह\u0948।", "คำตอบค\u0e37อ B",
            "Đáp án đúng là B.", "Doğru cevap B'dir.", "A resposta correta é a letra B.",
            "答えはＢだと思います。", "정답: ②", "答案是②。", "the moon", "It is the moon.",
            "The answer is the moon.", "the answer is THE MOON!", "B. the moon",
            "B) the moon is right", "(B) the moon", "The answer is E, the moon", "不是A，而是B。",
            "B, because C is wrong.", "Answer: B, C is wrong",
            "A. the sun\nB. the moon\nC. a star\nD. a comet\nIt is the moon.",
            "A. the sun - wrong\nB. the moon - correct\nThe answer is B",
            "Let's see. (A) is too hot. (C) is far. Therefore (B).", "#### B",
            "reason\n#### B\n\nNote that A star is C.", r"\boxed{B}", r"\boxed{\text{(B)}}",
            r"\boxed{the moon}", "{\"answer\": \"B\", \"confidence\": 0.9}",
            "<answer>B</answer> as A is not", "Answer: B\n\nQuestion: next one?\nAnswer: C",
            "option 2", "The best option is (B), although (C) is close",
            "The correct answer is: **B**", "Answer:\nB", "**Answer**\n\nB",
            "The answer is Option B.", "Option B", "OPTION B", "Option: B", "Choice (B)",
            "The correct choice is B", "Correct option: B", "Ans: B", "$B$",
            r"$\boxed{\text{B}}$", "<B>", "Answer: <B>", "[[B]]", "「B」", "答案是（B）。",
            "B选项正确", "B项", "应选B项。", "选项B是正确的", "答案是选项B", "所以正确选项是B。",
            "Bが正解です。", "答えは B です", "B번입니다", "답은 B번입니다.",
            "Antwort B ist richtig.", "Réponse B", "opción B", "Ⓑ", "⒝", "𝐁",
            "**Answer: B. the moon**", "Answer: (b) the moon", "answer: b",
            "The moon, not the sun.", "The moon is the best answer.", "not the sun, but the moon",
            "A is wrong; B is right", "B is right and A is wrong", "(A) is false. (B) is true.",
            "the answer cannot be A; it must be B", "It must be B.", "I'd say B.", "I pick B",
            "I'm going with B.", "My answer is B", "It's B!", "so B", "Therefore, B.",
            "Hence the answer is B", "B, since the moon is near.", "B - the moon", "B: the moon",
            "B\n\nBecause it is near.", "Because it is near.\n\nB", "Explanation: A is hot.\nB",
            "the letter is B", "I think (B)",
        ],
        "C": [
            "The answer is not B but C.", "B is incorrect, so C.", "Not A, not B, so C.",
            "A, B and D are wrong, so the answer is C.",
            "The answer is B. Wait, it is C. The answer is C.", "answer3", "a star",
            "Not B; the answer is C",
        ],
        "D": [
            "I believe the answer is D, a comet.", "The answer is a comet.", "A comet.",
            "A is wrong, B is wrong, C is wrong, so D",
        ],
        None: [
            "The answer is J.", "J", "Answer: E", "The answer is not B.", "It is not B.",
            "B is wrong.", "A and B are wrong", "neither A nor B", "B不正确", "不是B",
            "Bではありません", "B가 아닙니다", "no es B", "ce n'est pas B", "nicht B", "не B",
            "Answer: A, B", "Answer: A/B", "Answer: A & B", "Answer: A and B",
            "The answer is B or C.", "AB", "A, B", "It is B or C", "(A) and (B)", "Answer: A和B",
            "I don't know.", "I cannot answer.", "I am unable to tell whether B is right.",
            "我不知道。", "No sé.", "わかりません",
            "A. the sun\nB. the moon\nC. a star\nD. a comet", "option 7", "Neither.",
            "I refuse to answer.", "I'm sorry, but I can't answer that.",
            "The question has no answer", "It could be A, B, C or D", "All options are wrong",
            "None of A, B, C, D is right", "A or B or C", "either A or B",
            "B and C are both right", "Both (A) and (C)", "I would rule out A and B.",
            "Eliminate A. Eliminate C. The rest is unclear.", "It is not A", "U.S.A",
            "Vitamin A helps", "A+", "grade A", "It is 20°C.", "blood type B", "Figure A shows",
            "e.g. this", "D-day", "C major", "I", "point C is here", "The A train", "DNA",
            "Hepatitis B",
        ],
    },
    GERMS: {
        "B": ["The answer is E. coli.", "E. coli"],
        "E": ["The answer is E.", "Answer: E. Ebola", "E"],
    },
    UNKNOWN: {
        "A": ["A"],
        "B": ["so it's B"],
        "C": ["I'd go with C because it fits."],
        "D": ["I choose D."],
        None: [
            "A cat is no dog.", "vitamin C", "Take vitamin C daily.", "Plan B", "100°C",
            "It melts at 100°C.", "hepatitis B is a disease", "The line from A to B", "Use C++.",
            "I think so.", "Point A is far", "Type O blood",
        ],
    },
    EIGHTEEN: {
        "I": ["I think it is I"],
        "L": ["So the answer is (L) burgundy.", "The answer is L.", "(L)", "It is burgundy."],
        None: ["The answer is S"],
        "R": ["The answer is R", "I think it is pink"],
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
def test_a_letter_counts_where_it_is_an_answer(
    choices: tuple[str, ...], text: str, letter: str | None
) -> None:
    assert extract(text, "choice", choices=choices) == letter


def test_the_options_of_a_question_are_its_last_lines_with_letters() -> None:
    listed = "Which one?\n\nA. the sun\nB. the moon"

    assert parse_options(listed) == ("the sun", "the moon")
    assert parse_options("Choose.\nOptions:\n(A) red\n(B) blue") == ("red", "blue")
    assert parse_options("A. Smith asks what two\nand two make") == ()
    assert parse_options("A. one\nC. three") == ()


def test_votes_by_letters_and_by_words_are_votes_for_one_option() -> None:
    asked = "Which one shines at night?\n\nA. the sun\nB. the moon"
    texts = (
        "Answer: B",
        "It must be the moon.",
        "\u6b63\u786e\u7b54\u6848\u662fB\u3002",
        "I do not know.",
    )

    tally = vote([extract(text, "choice", question=asked) for text in texts], "choice")

    assert (tally.answer, tally.share) == ("B", 0.75)
