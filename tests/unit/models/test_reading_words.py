# ruff: noqa: RUF001 - texts in other alphabets are meant
"""Words and formulas are read whole, and compared as what they say."""

from __future__ import annotations

import pytest

from colm.evaluation.data.examples import Example
from colm.evaluation.grading import grade

#: By the reference: texts whose answer it is.
RIGHT: dict[str, list[str]] = {
    "St. Louis": [
        "The answer is St. Louis.", "The answer is St. Louis. It lies on the Mississippi.",
    ],
    "Dr. Smith": ["Answer: Dr. Smith"],
    "No. 5": ["Answer: No. 5"],
    "no": ["Answer: No. It is not possible."],
    "U.S. Navy": ["The answer is U.S. Navy."],
    "U.S.": ["Answer: U.S."],
    "US": ["Answer: US"],
    "J. K. Rowling": ["The answer is J. K. Rowling."],
    "E. coli": ["The answer is E. coli."],
    "Washington, D.C.": ["Answer: Washington, D.C."],
    "Mt. Everest": ["So the answer is Mt. Everest."],
    "Mr. Darcy": ["The answer is Mr. Darcy. He is rich."],
    "5 p.m.": ["The answer is 5 p.m."],
    "Martin Luther King Jr.": ["The answer is Martin Luther King Jr."],
    "café": ["Answer: cafe\u0301"],
    "cafe\u0301": ["The answer is café."],
    "O'Brien": ["Answer: O’Brien"],
    "10-12": [
        "Answer: 10\u201312", "Answer: 10 \u2013 12", "Answer: 10\u201412", "Answer: 10\u201112",
        "Answer: 10−12",
    ],
    "10\u201312": ["Answer: 10-12"],
    "Paris": [
        "Answer: “Paris”", "Answer: «Paris»", "Answer: „Paris“", "Answer: 'Paris'.",
        "Answer: ‘Paris’", r"\boxed{\text{Paris}}", "<answer>Paris</answer> is my answer",
        "{\"answer\": \"Paris\", \"why\": \"capital\"}", "#### Paris",
        "Answer: Paris\n\nQuestion: What is the capital of Spain?\nAnswer: Madrid", "Paris",
        "I think so.\n\n**Paris**", "Answer: ``Paris''", "Answer: »Paris«",
        "The answer is therefore Paris.", "The answer is: **Paris**.", "Ans: Paris",
        "final_answer: Paris", "<answer>Paris.</answer>\nI am sure.",
        "{\"reason\": \"x\", \"answer\": \"Paris\"}",
    ],
    "東京": ["答えは「東京」です。", "答えは東京です。", "正解：東京", "答えは、東京です。"],
    "巴黎": ["答案是巴黎。"],
    "서울": ["정답은 서울입니다."],
    "ＡＢＣ": ["Answer: ABC"],
    "apple; banana": ["Answer: apple; banana", "Answer: apple;banana"],
    "apple; banana; pear": ["The answer is apple; banana; pear."],
    "True": ["The answer is True; the second clause says so."],
    "Who's there?": ["Answer: Who's there?", "Answer: Who's there", "The answer is Who’s there?"],
    "St. Paul, MN": ["{\"answer\": \"St. Paul, MN\", \"why\": \"x\"}"],
    "Straße": ["Answer: STRASSE"],
    "x²": ["Answer: x^2"],
    "H₂O": ["Answer: H2O"],
    "naïve": ["Answer: nai\u0308ve"],
    "São Paulo": ["A resposta é São Paulo."],
    "Москва": ["Ответ: Москва.", "Правильный ответ \u2014 Москва."],
    "القاهرة": ["الإجابة هي القاهرة."],
    "दिल\u094dली": ["उत\u094dतर: दिल\u094dली"],
    "rock 'n' roll": ["Answer: rock ‘n’ roll"],
    "3.5": ["Answer: 3.5"],
    "blue": [
        "Answer: Blue!", "The final answer is: blue", "**Final Answer**\n\nblue",
        "The answer is blue. The answer is based on the text.",
        "Answer: blue\nThe answer follows from line 2.",
    ],
    "red": ["Answer: blue. No wait.\nAnswer: red"],
    "well-known": ["Answer: well\u2010known"],
    "5 km": ["Answer: 5\u00a0km"],
    "A&B": ["Answer: A&B"],
    "Apple Inc.": ["The answer is Apple Inc. It is in Cupertino."],
    "yes": ["Yes."],
    "e.g. this": ["Answer: e.g. this"],
    "Ph.D.": ["The answer is Ph.D."],
    "100 m": ["Answer: 100 m"],
    "New York\u2013London": ["Answer: New York-London"],
    "“To be”": ["Answer: To be"],
    "Jan. 5": ["The answer is Jan. 5."],
    "George W. Bush": ["The answer is George W. Bush."],
    "Vitamin C": ["The answer is Vitamin C. It is in oranges."],
    "Henry VIII": ["The answer is Henry VIII. He had six wives."],
    "Louis C.K.": ["Answer: Louis C.K."],
    "Lt. Col. Smith": ["The answer is Lt. Col. Smith."],
    "Ft. Worth": ["Answer: Ft. Worth"],
    "Mt. Fuji": ["The answer is Mt. Fuji. It is in Japan."],
    "p. 12": ["Answer: p. 12"],
    "Fig. 3": ["The answer is Fig. 3."],
    "Vol. 2": ["Answer: Vol. 2"],
    "No. 10": ["The answer is No. 10."],
    "EE. UU.": ["La respuesta es EE. UU."],
    "Sr. López": ["La respuesta es Sr. López."],
    "z. B. Wasser": ["Antwort: z. B. Wasser"],
    "M. Dupont": ["La réponse est M. Dupont."],
    "г. Москва": ["Ответ: г. Москва"],
    "Panic! at the Disco": ["Answer: Panic! at the Disco"],
    "Yahoo! Inc.": ["Answer: Yahoo! Inc."],
    "U.K. Parliament": ["Answer: U.K. Parliament"],
    "C. S. Lewis": ["The answer is C. S. Lewis. He wrote Narnia."],
    "10 a.m.": ["The answer is 10 a.m. because it opens then."],
    "Dr. No": ["The answer is Dr. No."],
    "St. Mary's": ["Answer: St. Mary’s"],
    "D'Artagnan": ["Answer: D’Artagnan"],
    "Jean-Paul": ["Answer: Jean\u2010Paul"],
    "fish": ["Answer: ﬁsh"],
    "IV": ["Answer: Ⅳ"],
    "Tokyo": ["Answer: Ｔｏｋｙｏ"],
    "Hawai'i": ["Answer: Hawaiʻi"],
    "红楼梦": ["答案是《红楼梦》。"],
    "苹果；香蕉": ["答案：苹果；香蕉"],
    "apple, banana": ["Answer: apple, banana"],
    "a; b; c": ["Answer: a; b; c."],
    "Ångström": ["Answer: A\u030angstro\u0308m"],
    "Zürich": ["Die Antwort ist Zu\u0308rich."],
    "naive": ["Answer: nai\u00adve"],
    "한국": ["정답은 한국이다."],
    "5 - 3": ["Answer: 5 \u2013 3"],
    "rock and roll": ["Answer: rock and roll"],
    "1990s": ["Answer: 1990s"],
    "Yes": ["Answer: Yes\n\nQuestion: Is it?\nAnswer: No", "#### Yes"],
}  # fmt: skip
#: By the reference: texts whose answer is another, or none.
WRONG: dict[str, list[str]] = {
    "café": ["Answer: cafe"],
    "Paris": [
        "Answer: Lyon", "Answer: Paris, Texas", "Answer: Paris\nAnswer: Lyon",
        "Answer: Not Paris", "",
    ],
    "10-12": [
        "Answer: 10-13", "Answer: 1012", "Answer: 10, 12", "Answer: 10:12", "Answer: 12-10",
    ],
    "apple; banana": [
        "Answer: apple", "Answer: apple; pear", "Answer: banana; apple",
        "Answer: apple; banana; pear",
    ],
    "St. Louis": ["Answer: St. Paul"],
    "No. 5": ["Answer: No", "Answer: No. 6"],
    "True": ["The answer is False; True is the other."],
    "x2": ["Answer: x²"],
    "21/2": ["Answer: 2½"],
    "O'Brien": ["Answer: OBrien"],
    "Dr. Smith": ["Answer: Dr"],
    "U.S. Navy": ["Answer: U.S.", "Answer: U.S. Army"],
    "Madrid": ["Answer: Paris\n\nQuestion: What is the capital of Spain?\nAnswer: Madrid"],
    "-5": ["Answer: 5"],
    "東京": ["答えは京都です。"],
    "巴黎": ["答案是里昂。"],
    "E. coli": ["Answer: E"],
    "Who's there?": ["Answer: Whos there?"],
    "blue": ["red"],
    "résumé": ["Answer: resume"],
    "A": ["Answer: Á"],
    "ab": ["Answer: a b"],
    "based": ["Answer: blue. The answer is based on it."],
    "Mt. Fuji": ["Answer: Mt"],
    "Zürich": ["Answer: Zurich"],
    "Ångström": ["Answer: Angstrom"],
    "IV": ["Answer: VI"],
    "St. Mary's": ["Answer: St. Marys"],
    "C. S. Lewis": ["Answer: C"],
    "Dr. No": ["Answer: Dr. Yes"],
    "Yes": ["Answer: No\n\nQuestion: Is it?\nAnswer: Yes"],
    "东京": ["東京"],
    "x^2": ["x2"],
    "1/2": ["12"],
    "co-op": ["coop"],
    "resign": ["re-sign"],
}  # fmt: skip
#: The same of formulas.
FORMULAS: dict[str, list[str]] = {
    r"\frac{3}{2}": ["The answer is 1 1/2"],
    "-5": ["The answer is \u20135"],
    r"\frac{1}{2}": ["The answer is\n$$\n\\frac{1}{2}\n$$"],
    "x^2": ["So the answer is $x^2$.", "答案是$x^2$。"],
    "2": ["The answer is $2$ because $x=3$"],
    "5": ["#### 5\n\nQuestion: $x$?", "The answer is 5 apples."],
    "(1,2)": ["The answer is (1, 2)."],
    "120": ["The answer is $5! = 120$."],
    r"\sqrt{2}": [r"<answer>$\sqrt{2}$</answer> with 3 steps"],
    "12000": [r"\boxed{12\ 000}"],
    "x+1": ["Answer: x + 1", "**Answer:** $x+1$\n\nThe answer is based on 3 facts"],
    r"\frac{1}{3}": [r"\boxed{\dfrac{1}{3}}"],
    "3": ["The value is $3$."],
    r"25\%": ["The answer is 0.25", "The answer is 25"],
    r"\emptyset": [r"\boxed{∅}"],
}  # fmt: skip
OTHER_FORMULAS: dict[str, list[str]] = {
    "x^2": ["The answer is $x^3$."],
    "2": ["The answer is $3$ because $x=2$"],
    "(1,2)": ["The answer is (1, 3)."],
    "4": [r"\boxed{4\sqrt(3)}"],
    "3": [r"\boxed{3 + \text{something}}"],
    "0.25": [r"The answer is 2.5\%"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("reference", "text"), [(answer, text) for answer, texts in RIGHT.items() for text in texts]
)
def test_the_words_that_a_text_gives_are_read_to_their_end(reference: str, text: str) -> None:
    asked = Example(id="e", question="?", references=(reference,), kind="exact")

    assert grade(asked, text).status == "correct"


@pytest.mark.parametrize(
    ("reference", "text"), [(answer, text) for answer, texts in WRONG.items() for text in texts]
)
def test_other_words_are_not_the_answer(reference: str, text: str) -> None:
    asked = Example(id="e", question="?", references=(reference,), kind="exact")

    assert grade(asked, text).status != "correct"


@pytest.mark.parametrize(
    ("reference", "text"), [(answer, text) for answer, texts in FORMULAS.items() for text in texts]
)
def test_the_formula_that_a_text_gives_is_read(reference: str, text: str) -> None:
    asked = Example(id="e", question="?", references=(reference,), kind="math")

    assert grade(asked, text).status == "correct"


@pytest.mark.parametrize(
    ("reference", "text"),
    [(answer, text) for answer, texts in OTHER_FORMULAS.items() for text in texts],
)
def test_another_formula_is_not_the_answer(reference: str, text: str) -> None:
    asked = Example(id="e", question="?", references=(reference,), kind="math")

    assert grade(asked, text).status != "correct"
