# ruff: noqa: RUF001 - texts in other alphabets are meant
"""Numbers have one value in whatever form they are written."""

from __future__ import annotations

from fractions import Fraction

import pytest

from colm.models.answers.numerals import NUMBER, number, strip_markup

#: By the value: how it may be written; None for what is no number.
VALUES: dict[Fraction | int | None, list[str]] = {
    -5: [
        "\u20135", "\uff0d5", "minus 5", "negative 5", "−5", "-$5", "$-5", "-5", "menos 5", "负5",
        "マイナス5", "零下5度", "moins 5", "\u2013$5",
    ],
    -3: ["(-3)", "{-3}"],
    Fraction(-5, 2): ["-2½"],
    Fraction(-9, 4): [r"-2\frac{1}{4}"],
    Fraction(-5, 3): ["-5/3"],
    Fraction(-3, 4): [r"x = -\frac{3}{4}"],
    Fraction(-1, 2): [r"\frac{-1}{2}", r"-\frac{1}{2}", "-.5"],
    Fraction(-1, 6250000000000000000): ["−1.6 × 10^{−19} C"],
    Fraction(3, 100000): ["3e−5"],
    Fraction(3, 25000): ["1.2×10⁻⁴", r"1.2 \times 10^{-4}"],
    Fraction(1, 1000): ["10^{-3}"],
    Fraction(1, 400): ["2.5e-3"],
    Fraction(3, 100): ["3 x 10^-2", "3 x 10^(−2)"],
    Fraction(1, 8): ["0,125"],
    Fraction(1, 6): [r"0.1\overline{6}"],
    Fraction(1, 3): [r"0.\overline{3}"],
    Fraction(1, 2): [r"\frac12", "½", "1/2.", ".5", "1⁄2"],
    Fraction(2, 3): ["⅔"],
    Fraction(3, 4): ["1.5/2", r"\dfrac{3}{4}"],
    1: ["1,2,3"],
    Fraction(3, 2): ["1 and 1/2"],
    2: ["2 x 10 = 20"],
    Fraction(5, 2): ["2 1/2 cups", r"2\frac{1}{2}", "2½", "2 ½", "2 and a half"],
    3: ["3-5", "(3,5)"],
    Fraction(157, 50): ["3.14.15"],
    Fraction(7, 2): ["3,5"],
    4: [r"\sqrt{16}"],
    5: [
        "5千克", "+5", "5 ± 0.1", "5 cm^2", "5!", "5.", "5%", "US$5", "5 100-dollar bills",
        "5 x 3 = 15", r"5\text{ cm}", "5 miles", "5 m", "5 kg", "5K", "5°C",
    ],
    Fraction(49, 5): ["9.8 m/s^2"],
    10: ["10 minus 5", "10 - 5", "10-5"],
    12: ["12个", "١٢", "१२", "12:30", r"\mathbf{12}", r"\text{12}"],
    13: ["~~12~~ 13"],
    18: ["__18__", "_18_", "**18**", "*18*", "`18`", "是__18__个"],
    90: [r"90^\circ"],
    500: ["Rs. 500", "Rs500"],
    1000: ["10^3", "10**3", "10<sup>3</sup>"],
    1024: ["2^10"],
    1234: [r"1,\!234", r"1\;234"],
    Fraction(2469, 2): ["$1,234.50"],
    Fraction(30864, 25): ["1.234,56", "1 234,56"],
    3000: ["3천"],
    5000: ["5k", "$5 k", "5&nbsp;000", "5 mil"],
    12000: [
        "12 000", "12\u202f000", r"12\ 000", "12~000", "１２，０００", "12{,}000", r"12\,000",
    ],
    Fraction(24001, 2): ["12 000,5"],
    12345: ["12,345"],
    30000: ["3万"],
    35000: ["3万5000"],
    100000: ["1,00,000", "100 000"],
    200000: ["2 lakh"],
    300000: ["3 hundred thousand"],
    1000000: ["1_000_000", "10 to the 6th", "10⁶", "1 000 000", "1\u2009000\u2009000"],
    1234567: ["12,34,567", "1.234.567"],
    Fraction(2469135, 2): ["1'234'567.5"],
    1500000: ["1.5 million", "$1.5M"],
    2500000: ["2,5 Millionen", "2 1/2 million"],
    5000000: ["5 million-dollar"],
    15000000: ["1.5 crore"],
    150000000: ["1.5亿"],
    300000000: [
        "3 x 10^8 m/s", r"3 \times 10^8", "3x10^8", "3*10**8", "3·10⁸", r"3\times{10}^{8}", "3e8",
        "3E+8", "3 × 10 to the power of 8", "3 times 10^8", r"$3 \times 10^8$",
    ],
    350000000: ["3亿5000万"],
    2000000000: ["$2bn"],
    602000000000000000000000: ["6.02 x 10²³"],
    None: [
        r"3\pi", "3π", "3 pi", "√2", r"2\sqrt{3}", r"\frac{\pi}{2}", "101_2", "9^{9^{9}}", "±5",
        "cm^2", "x_5", "x^2", "1/0", "H2O", "x2", "1e999999999", "2i", "1/2/2020", r"5\mathrm{e}",
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "value"), [(text, value) for value, texts in VALUES.items() for text in texts]
)
def test_a_number_has_its_value_in_every_form(text: str, value: Fraction | int | None) -> None:
    assert number(text) == value


@pytest.mark.parametrize(
    "repeated",
    [
        "1", "1 ", "1,2", "1,00", "1.111,", "1/", "2^", "- ", "\\sqrt[", "{", "0.\\overline", "$",
    ],
)  # fmt: skip
def test_two_hundred_thousand_characters_are_searched_in_one_pass(repeated: str) -> None:
    text = strip_markup(repeated * (200_000 // len(repeated)))

    assert sum(1 for _ in NUMBER.finditer(text)) <= len(text)
