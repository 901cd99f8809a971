"""Formulas are equal where what they stand for is, and not where a part of one was left out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from colm.models.answers.compare import same

EQUAL = [
    (r"\frac{a}{b}=\frac{c}{d}", "ad=bc"), (r"\text{(B)}", "B"), (r"x\in(3,\infty)", r"(3,\infty)"),
    (r"12\pi", "37.69911"), ("y-1=2(x-3)", "y=2x-5"), ("x=\\pm 2", "x=2,x=-2"),
    (r"\frac{1}{2}", "0.5"), ("x^2+1", "1+x^2"), (r"\sqrt{8}", r"2\sqrt{2}"), ("x=5", "5"),
    (r"\$32,348", "32348"), (r"\sin(x)^2+\cos(x)^2", "1"), (r"\emptyset", r"\varnothing"),
    (r"\{\}", r"\emptyset"), ("∅", r"\emptyset"), ("101_2", "5"), ("101_2", "101_{2}"),
    ("(101)_2", "5"), (r"2\pm\mathrm{e}", r"2\pm e"), (r"2\pm\sqrt{3}", r"2+\sqrt3, 2-\sqrt3"),
    (r"\pi", "3.141593"), (r"1.6\times10^{-19}", r"1.60 \times 10^{-19}"),
    (r"\frac{1}{2^{99}}", "2^{-99}"), ("x>3", "3<x"), ("2x+4y=6", "x+2y=3"),
    ("x>3", r"(3,\infty)"), ("(1,2)", "1,2"), (r"\{1,2\}", r"\{2,1\}"), ("1,2", "2, 1"),
    (r"1, 2, \ldots, n", r"1,2,\dots,n"), ("1, 2, 3, ...", "1,2,3,…"), (r"\text{even}", "Even"),
    ("even", "even"), ("5 cm", r"5\text{ cm}"), ("5 cm", "5"),
    (r"2\sqrt{3}\text{ cm}^2", r"2\sqrt{3}"), (r"90^\circ", "90"), (r"25\%", "25"),
    (r"25\%", "0.25"), (r"25\%", r"\frac{1}{4}"), (r"25\%", r"25.0\%"), ("1 1/2", r"\frac{3}{2}"),
    ("\u20135", "-5"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1\\ \frac{4}{2}\end{pmatrix}"),
    ("[0,1)", r"\left[0,1\right)"), ("[0,0.5]", r"[0,\frac12]"), ("0.5x", "x/2"), ("i^2", "-1"),
    (r"e^{i\pi}", "-1"), ("2*sqrt(3)", r"2\sqrt{3}"), ("pi/4", r"\frac{\pi}{4}"),
    ("√2", r"\sqrt{2}"), ("x²", "x^2"), ("f(x)=x+1", "f(x)=1+x"), (r"y=\frac{1}{3}x", "3y=x"),
    ("1<x<3", "3>x>1"), (r"(-\infty,3]\cup[5,\infty)", r"(-\infty,3]\cup[5,\infty)"),
    (r"\infty", "∞"), (r"x = 3 \text{ or } x = 5", "x=5 or x=3"), ("3,5", "x=3, x=5"),
    ("1{,}234", "1234"), ("3{,}5", "3.5"), (r"10\,000", "10000"), ("5!", "120"),
    (r"\binom{5}{2}", "10"), (r"\log_2 8", "3"), ("a=b=5", "5"), ("2+3=5", "5"),
    (r"\sum_{k=1}^{10}k", "55"), (r"\int_0^1 x\,dx", r"\frac12"), ("abc", "cab"),
    ("(x+1)(x-1)", "x^2-1"), (r"\frac{x}{y}", "x/y"), ("n(n+1)/2", r"\frac{n^2+n}{2}"),
    ("x'", "x'"), (r"-\frac{1}{2}", r"\frac{-1}{2}"),
    (r"6.63 \times 10^{-34}\text{ J}", "6.63e-34"), (r"\sqrt{x^2}", "|x|"), ("3:2", "6:4"),
    ("0", r"\sin(0)"), (r"(\frac12)^{60}", "2^{-60}"), (r"\mathbb{R}", r"(-\infty,\infty)"),
    (r"\frac{\pi}{2}+2k\pi", r"2k\pi+\frac{\pi}{2}"), ("$x^2$", "x^2"), (r"\(x\)", "x"),
    ("x^{10}", "x^{ 10 }"), (r"\dfrac{a}{b}", r"\frac{a}{b}"), ("2x", r"x\cdot 2"),
    ("10^3", "1000"), ("1,234", "1234"), ("A", "A"), (r"12\ 000", "12000"),
    (r"\tan 45^\circ", r"\tan 45"), (r"3\pi", "3π"), (r"\frac{1}{3}", "0.333333"), (r"\$5", "5"),
    (r"x\in\{1,2\}", "1,2"), (r"\frac{2}{4}x", r"\frac{x}{2}"), (r"\sqrt[3]{8}", "2"),
]  # fmt: skip
DIFFERENT = [
    (r"1.6 \times 10^{-19}", r"9.1 \times 10^{-31}"), (r"\frac{1}{2^{99}}", r"\frac{1}{2^{98}}"),
    (r"\left(\frac{1}{2}\right)^{60}", r"\left(\frac{1}{2}\right)^{61}"), ("101_2", "101_8"),
    ("101_2", "101"), (r"2-\mathrm{e}", r"2+\mathrm{e}"), (r"5\mathrm{e}", "5"),
    ("4", r"4\sqrt(3)"), ("3", r"3 + \text{something}"),
    (r"1, 2, \ldots, n", r"1, 3, 5, \ldots, 2n-1"), (r"1,2,\ldots,n", "1,2,n"),
    ("[0,1)", "[0,1]"), ("(0,1)", "[0,1]"), (r"\pi", "3.14159"),
    ("10^{-20}x", r"2\cdot 10^{-20}x"), ("x=10^{-20}", "x=10^{-21}"), ("x=5", "y=5"), ("5", "5x"),
    ("3t", "3"), ("5m", "5"), (r"25\%", r"0.25\%"), (r"25\%", "2.5"), ("x>3", "x<3"),
    ("x>3", r"x\ge 3"), ("2x=4", "4x=4"), ("even", "odd"), ("stop", "post"), ("X", "x"),
    ("1,2", "1.2"), ("1,2", "1,3"), (r"\{1,2\}", r"\{1,2,3\}"), ("x'", "x"), ("y'=2y", "y=2y"),
    (r"3 \text{ if } x>0", "3"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}2\\1\end{pmatrix}"),
    ("(1,2)", "(2,1)"), ("x-x^2", "x^2-x"), (r"\sqrt{2}", "1.414"), (r"\sqrt{2}", "1.41421"),
    ("e^{-50}", "e^{-51}"), ("e^{-50}", "0"), ("10^{-30}", "0"), ("10^{-30}", "10^{-31}"),
    (r"2\pm 3", "5"), (r"\pm 5", "5"), (r"\pm 5", "-5"), (r"5+\sqrt{2}", "5"), ("5 -", "5"),
    ("5 +", "5"), ("5 ?", "5"), ("x_1", "x_2"), ("1/2+", "1/2"), ("3x=12", "12"),
    (r"\frac{1}{3}", "0.3333"), ("1000000", "1000002"), ("f(x)=x+1", "g(x)=x+1"), ("10!", "10"),
    (r"\log 5", "5"), ("2i", "2"), (r"\infty", r"-\infty"), (r"\text{none}", r"\text{some}"),
    (r"\emptyset", "0"), ("1<x<3", "1<x<4"), (r"\{x: x>3\}", r"\{x: x>4\}"),
    (r"1+2+\cdots+n", "1+2+n"), (r"\vec{a}", "a"), (r"\overline{AB}", "AB"), ("10_3", "10_4"),
    (r"4 \text{ cm} + 3", "4"), (r"\frac{5}{0}", r"\frac{7}{0}"), ("(2,3)", "[2,3]"),
    (r"\sin x", r"\sin y"), (r"6.02\times 10^{23}", r"6.03\times 10^{23}"), (r"3\pi", "3"),
    ("x^2", "x^3"), ("a+b", "a-b"), ("x=2,y=1", "x=1,y=2"), ("1:2", "2:1"), ("{}", "{1}"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_two_ways_to_write_a_formula_are_one_answer(one: str, other: str) -> None:
    assert same(one, other, "math")
    assert same(other, one, "math")


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_another_formula_is_another_answer(one: str, other: str) -> None:
    assert not same(one, other, "math")
    assert not same(other, one, "math")


@pytest.mark.parametrize(
    "formula",
    [
        "9^{9^{9^{9^{x}}}}", "(9^{9^x})!", r"\sum_{k=1}^{10^9}\frac{1}{k}", "10^{-1000}x",
        r"\int_0^1 x^{x^{x}} dx", "x," * 100 + "x",
    ],
)  # fmt: skip
def test_no_comparison_goes_on_for_long(formula: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        assert not pool.submit(same, formula, "(x+y)^{2}+z", "math").result(200)
