# ruff: noqa: RUF001 - texts in other alphabets are meant
"""A number is read however a text writes it and wherever it says that it is the answer."""

from __future__ import annotations

import pytest

from colm.evaluation.data.examples import Example
from colm.evaluation.grading import grade

#: By the reference: texts whose answer it is.
RIGHT: dict[str, list[str]] = {
    "12": [
        "答案是12。", "所以一共有12个苹果。", "答は12個です", "총 12개입니다.",
        "ท\u0e31\u0e49งหมด12ช\u0e34\u0e49น", "答案是１２。", "الإجابة هي ١٢.",
        "उत\u094dतर १२ ह\u0948।", "The answer is 12 000/1000.", "Die Antwort lautet 12.",
        "Antwort: 12 Äpfel", "Odpowiedź: 12", "回答：12", "답: 12개", "ответ: 12.",
        "The correct answer, therefore, is 12.",
    ],
    "12000": ["共12,000元", "La réponse est 12 000 euros.", "12&nbsp;000", r"$12{\,}000$"],
    "30000": ["一共3万元"],
    "2.5": [
        "The answer is 2 1/2 cups.", "2 and 1/2", "two? no, 2½", r"$2\tfrac{1}{2}$",
        r"$2\,\frac{1}{2}$",
    ],
    "18": [
        "18 eggs are left.\n#### 18\n\nNote that there are 7 days in a week.",
        "#### 18\n\nQuestion: Tom has 3 cats and gets 4. How many?\nAnswer: He has 3+4=7.\n#### 7",
        "#### 18\n#### 18 is it. 7",
        "The total is 18.\n\nQuestion: Tom has 3 cats and gets 4 more.\nAnswer: 7",
        "Answer: 18\n\nQ: How many?\nA: 7", "#### $18 dollars\nAnd 3 more",
        "#### Step 1: Add 3\n#### Step 2: Add 4\nThe answer is 18.",
        "#### 1. Add\ntext 5\n#### 2. More\nThe result is 18", "Answer: __18__", "***18***",
        "The answer is **_18_**.", "<b>18</b>", "The answer is “18”.", "答案是「18」。",
        "答案为**18**。", "So, 6*3 = 18. #### 18", "#### **18**", "####18",
        "#### 18.\nQuestion: 5?", "#### 18 apples\n\nExplanation: there are 7 days.",
        "18\n#### 18\nHuman: what is 5 + 5?\nAssistant: 10",
    ],
    "20": [
        "#### 18\nWait, that is wrong, I forgot 2.\n#### 20", "The answer is 20 (10 + 10).",
        "It takes 2x = 40, so x = 20",
    ],
    "42": [
        "<answer>42</answer> It took 3 steps", "{\"answer\": 42, \"steps\": 3}",
        "```json\n{\"steps\": 3, \"answer\": \"42\"}\n```",
        r"\boxed{42}. The answer is based on 3 steps.",
        "<answer>\n42\n</answer>\nDone in 3 steps.", "<final_answer>42</final_answer> (3 steps)",
        "{'answer': 42, 'n': 3}", "{\"steps\": [1,2,3], \"final_answer\": 42}",
        "\"answer\": \"42 apples\"",
    ],
    "6": [
        r"\boxed{5}. Wait, that is wrong. The answer is 6.", "The answer is not 5 but 6.",
        "It is 6, not 5.", "Answer: Let me see. 2*3 = 6. The answer is 6.",
        "The answer is 6; 3 were eaten.",
    ],
    "13": [r"The answer is 12. Check 99. So \boxed{13}"],
    "5": [
        "The answer is approximately 5.", "- 5 apples", "* 5 apples", "Answer:\n- 5 apples",
        "The answer is 5 cm^2.", "The answer is **5**.", "**Answer: 5 dollars**",
        r"The final answer is $\boxed{5}$.", "The answer is 5!", "So the answer is $x = 5$.",
        r"答案：\boxed{5}", "The answer is: \n\n5",
        "Final Answer: The final answer is $5$. I hope it is correct.",
        "<|begin_of_box|>5<|end_of_box|>", "5 apples - 3 left? No.\nThe answer is 5", "Ans: 5",
        "Answer => 5", "Answer → 5", "The answer turns out to be 5.", "The answer equals 5",
        "共5千克",
    ],
    "14": ["The answer is that there are 14 apples."],
    "-5": [
        "It is minus 5 degrees.", "The temperature is −5 °C", "零下5度", "The answer is - 5",
        r"\boxed{- 5}", "x = - 5", "Answer: −5", "La temperatura es de menos 5 grados.",
        "気温はマイナス5度です。", "기온은 영하 5도입니다.", "The answer is \u20125.",
        "The answer is \ufe635.",
    ],
    "300000000": ["The answer is 3 x 10^8 m/s.", "3 × 10⁸ = 300,000,000"],
    "1500000": ["The answer is $1.5 million."],
    "8": ["The answer is 5 + 3 = 8."],
    "3.5": ["Die Antwort ist 3,5.", "3,5"],
    "1234.56": ["Die Antwort lautet 1.234,56 Euro."],
    "0.5": ["The answer is 50/100", r"\frac{1}{2}", "The answer is 1⁄2."],
    "25": ["The answer is 25%.", "5 squared"],
    "9.8": ["g = 9.8 m/s^2"],
    "90": [r"90^\circ"],
    "4": [r"The answer is \sqrt{16}.", "The answer is sqrt(16).", "The answer is √16.", "4."],
    "3": ["x = 3"],
    "0": ["The answer is 0.", "0", "zero? 0"],
    "100000": ["The answer is 1,00,000."],
    "1000": ["The answer is 10^3.", "10 cubed", "１，０００"],
    "0.001": ["The answer is 10^{-3}.", "10 to the minus 3"],
    "72": ["Natalia sold 72 clips", "72 clips\n\nProblem: x 5"],
    "7": [
        "First 3, then 4, which makes 7.", "The answer must be 7 since 3+4=7.",
        "**Answer**: 7 (3 + 4)",
    ],
    "26": ["Answer: 26.\n\nThe answer is in dollars. 3 days pass."],
    "5000": ["The answer is $5k"],
    "1/3": ["The answer is 0.333333", "1/3", "0.3333333"],
    "0.25": ["Answer: .25"],
    "15": ["The answer is $15.00."],
    "300": ["3 hundred"],
    "1500": ["合计1,500円です。"],
    "1000000": ["10 to the sixth power"],
    "3000000": ["3 million"],
    "2500000": ["2.5M"],
    "2.75": ["2¾", "2 ¾ cups"],
    "-2.5": ["-2 1/2"],
    "0.333333333": [r"\frac13"],
    "12345.67": ["12 345,67", "12.345,67"],
    "1234567": [
        "1.234.567", "1'234'567", "12,34,567", "1{,}234{,}567", r"1\,234\,567",
        "1\u2009234\u2009567",
    ],
    "6.02e23": [
        "6.02 × 10²³", "6.02*10^23", "6.02E+23", r"6.02\cdot 10^{23}", "6.02 x 10 ^ 23",
        "6.02 × 10**23",
    ],
    "1.6e-19": ["1.6 × 10⁻¹⁹ C", r"1.6\times10^{-19}", "1.6e−19"],
    "9": ["3 x 3 = 9", "The answer is 3 × 3 = 9."],
    "-12": ["The answer is 3 x -4 = -12."],
    "0.05": ["5e-2"],
    "100": ["1e2"],
    "50": ["50 percent", "50％"],
    "15000": ["1.5万円"],
    "120000000": ["1亿2000万"],
    "30": ["$30.00", "30 USD", "USD 30", "€30", "30€", "₹30", "Rs. 30"],
    "4.5": ["4.5 hours."],
    "2020": ["in 2020"],
}  # fmt: skip
#: By the reference: texts whose answer is another, or none.
WRONG: dict[str, list[str]] = {
    "2": [
        "The answer is 2 1/2 cups.", r"The answer is 2\sqrt{3}", r"The answer is \frac{\pi}{2}.",
        "The answer is 1/2.", "9.8 m/s^2", "H2O", "2,5 Millionen", "The answer is 2^n.",
        "n = 2, so the answer is 2^n.", "2½", "2¾", "1⁄2", r"\frac12",
    ],
    "12": ["The answer is 12 000.", "答案是13。", "１２００", "12 345", "12.345.678", "1 2"],
    "3": [
        r"The answer is $3 \times 10^8$.", r"The answer is 3\pi.", "The answer is 3π",
        r"The answer is 3 + \pi.", r"r = 3, so the answer is 3\pi.", "一共3万元", "3 x 10^8",
        "<answer>42</answer> It took 3 steps", "{\"answer\": 42, \"steps\": 3}",
        "The answer is 3x.", "The answer is 3n", "The answer is 3 + 4i.", "The answer is 3+x.",
        "3 pi", "3万", "3 million", "{\"steps\": 3, \"answer\": 42}",
    ],
    "10": [r"\boxed{10^3}", "10^{-3}", "#### 18\nHuman: what is 5 + 5?\nAssistant: 10"],
    "5": [
        "The answer is \u20135.", "The answer is minus 5 degrees.", "The answer is not 5 but 6.",
        "The answer is ±5.", "2^5", "x_5", "I do not know.", "5 thousand", "−5", "\u20135",
        "\uff0d5", "negative 5", "menos 5", "マイナス5", r"\boxed{- 5}", "The answer is - 5", "6",
        "15", "5.5", "55",
    ],
    "16": [
        r"The answer is \sqrt{16}.", "sqrt(16)", "The answer is sqrt(16).", "√16",
        "the square root of 16", "16^{1/2}",
    ],
    "1.5": ["The answer is 1.5 million."],
    "7": ["#### 18\n\nNote 7", "\\boxed{5}\n\nThere are 7 days.", "#### 18\nthere are 7"],
    "1": [r"\boxed{1,234}", "The answer is 1/2.", "1e3", "1 and 1/2", "1'234", "1e2", "1/2"],
    "50": ["The answer is 0.5"],
    "0.25": ["The answer is 25%."],
    "8": ["The answer is 5 + 3 = 9.", "2^3 is not the answer. The answer is 9"],
    "101": [r"\boxed{101_2}", "101_2"],
    "18": ["#### 18\nWait, wrong.\n#### 20", "19"],
    "41": ["Answer: 42"],
    "35": ["Die Antwort ist 3,5.", "3,5"],
    "0.5": ["2½"],
    "123456": ["123456.5"],
    "9": ["9^{9^{9}}"],
    "0": ["1e-30", "1.6e-19"],
    "1e-20": ["2e-20"],
    "100": [r"The answer is \log 100."],
    "4": [r"The answer is \frac{\pi}{4}"],
    "6.02": ["6.02 × 10²³"],
    "23": ["6.02 × 10²³"],
    "2.5": ["2.5M"],
    "0.1": ["1/10000000"],
    "1.6e-19": ["9.1e-31", "1.7 × 10^{-19}"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("reference", "text"), [(answer, text) for answer, texts in RIGHT.items() for text in texts]
)
def test_the_number_that_a_text_gives_is_read(reference: str, text: str) -> None:
    asked = Example(id="e", question="?", references=(reference,), kind="numeric")

    assert grade(asked, text).status == "correct"


@pytest.mark.parametrize(
    ("reference", "text"), [(answer, text) for answer, texts in WRONG.items() for text in texts]
)
def test_another_number_or_a_part_of_a_formula_is_not_the_answer(reference: str, text: str) -> None:
    asked = Example(id="e", question="?", references=(reference,), kind="numeric")

    assert grade(asked, text).status != "correct"
