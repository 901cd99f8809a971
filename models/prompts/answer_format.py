"""The format hint added to a question, so that the final answer can be extracted. Pure.

All strategies use the same hint, so that the wording favours none of them.
"""

from __future__ import annotations

from colm.models.answers.compare import Kind

#: Default hint of each kind of answer.
HINTS: dict[Kind, str] = {
    "exact": "Give the reason first. End with one line: 'Answer:' and the answer in few words.",
    "numeric": "Give the reason first. End with one line: 'Answer:' and only the number.",
    "choice": "Give the reason first. End with one line: 'Answer:' and only the letter.",
    "math": "Give the reason first. End with one line: only the final answer in \\boxed{}.",
    "code": "Put the complete code into one block that begins with ```python and ends with ```.",
}


def format_hint(kind: Kind | None, hint: str | None) -> str:
    """`hint`, or the default of `kind` where `hint` is None; empty for no hint."""
    if hint is not None:
        return hint
    return HINTS.get(kind, "") if kind else ""


def add_format_hint(question: str, kind: Kind | None, hint: str | None) -> str:
    text = format_hint(kind, hint)
    return f"{question}\n\n{text}" if text else question
